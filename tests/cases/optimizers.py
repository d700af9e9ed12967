"""Optimizers to be compared with real Keras: weights, their gradients at 20 steps, and settings.

`CASES` maps names to functions of the module `keras` or `nbcnn` that make an optimizer.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

STEPS, SEEN = 20, (0, 19)  # steps, and those after which weights are compared
WEIGHTS = {
    "first/kernel": (2, 2, 3, 4),
    "first/bias": (4,),
    "head/tall": (6, 4),
    "head/wide": (3, 7),
}
CONSTRAINED = "head/tall"  # its rows may not be longer than LIMIT in the cases named "constrained"
LIMIT = 1.2


def start(name: str) -> np.ndarray:
    index = list(WEIGHTS).index(name)
    return np.random.default_rng(index).normal(size=WEIGHTS[name]).astype("float32")


def gradient(case: str, name: str, step: int) -> np.ndarray:
    """Large and small ones, with a trend; some elements stay without."""
    index = list(WEIGHTS).index(name)
    generator = np.random.default_rng(100 + 10 * step + index)
    trend = np.random.default_rng(50 + index).normal(size=WEIGHTS[name])
    values = (0.5 * trend + generator.normal(size=WEIGHTS[name])) * (1.5 if step % 5 else 0.1)
    values.flat[:: index + 5] = 0.0
    return (values * (8.0 if "overflow" in case else 1.0)).astype("float32")


def _excluding(optimizer: Any) -> Any:
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _schedule(keras: Any) -> Any:
    return keras.optimizers.schedules.ExponentialDecay(0.05, 7, 0.5)


def _plain() -> dict[str, Callable]:
    names = (
        "SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adafactor", "Adagrad", "Adamax", "Ftrl",
        "Lamb", "Lion", "Nadam", "Muon", "ScheduleFreeAdamW",
    )  # fmt: skip
    found: dict[str, Callable] = {}
    for name in names:
        found[name] = lambda keras, name=name: getattr(keras.optimizers, name)()
        found[f"{name} all"] = lambda keras, name=name: getattr(keras.optimizers, name)(
            0.02, weight_decay=0.05, global_clipnorm=3.0, use_ema=True, ema_momentum=0.8
        )
        found[f"{name} accumulating"] = lambda keras, name=name: getattr(keras.optimizers, name)(
            0.03,
            gradient_accumulation_steps=3,
            loss_scale_factor=8.0,
            use_ema=True,
            ema_overwrite_frequency=2,
            clipvalue=1.0,
        )
        found[f"{name} clipped"] = lambda keras, name=name: getattr(keras.optimizers, name)(
            0.05, clipnorm=0.7, weight_decay=0.2
        )
    return found


CASES: dict[str, Callable] = {
    **_plain(),
    "SGD momentum": lambda k: k.optimizers.SGD(_schedule(k), 0.9, nesterov=True, clipnorm=1.0),
    "RMSprop centered": lambda k: k.optimizers.RMSprop(0.01, 0.8, 0.5, 1e-3, True),
    "Adam amsgrad": lambda k: k.optimizers.Adam(_schedule(k), 0.8, 0.9, 1e-4, True),
    "AdamW excluding": lambda k: _excluding(k.optimizers.AdamW(0.02, 0.3, global_clipnorm=2.0)),
    "Adadelta fast": lambda k: k.optimizers.Adadelta(1.0, 0.9, 1e-4),
    "Adafactor thresholds": lambda k: k.optimizers.Adafactor(0.2, -0.5, 1e-8, 0.1, 0.5),
    "Adafactor schedule": lambda k: k.optimizers.Adafactor(_schedule(k), relative_step=False),
    "Adagrad zero": lambda k: k.optimizers.Adagrad(0.1, 0.0, 1e-3),
    "Adamax betas": lambda k: k.optimizers.Adamax(0.02, 0.7, 0.9, 1e-3),
    "Ftrl strengths": lambda k: k.optimizers.Ftrl(
        0.05, l1_regularization_strength=0.1, l2_regularization_strength=0.2,
        l2_shrinkage_regularization_strength=0.05, beta=0.1,
    ),
    "Ftrl power": lambda k: k.optimizers.Ftrl(0.05, -0.7, 0.5, 0.01),
    "Ftrl power 0": lambda k: k.optimizers.Ftrl(0.05, 0.0, 0.5, 0.01),
    "Lamb betas": lambda k: k.optimizers.Lamb(_schedule(k), 0.7, 0.9, 1e-3, weight_decay=0.1),
    "Lion betas": lambda k: k.optimizers.Lion(0.01, 0.5, 0.7, weight_decay=0.1),
    "Nadam betas": lambda k: k.optimizers.Nadam(_schedule(k), 0.7, 0.9, 1e-3),
    "Muon settings": lambda k: _excluding(
        k.optimizers.Muon(
            0.02, 0.8, 0.9, 0.1, 1e-4, 0.2, exclude_layers=["tall"], adam_lr_ratio=0.5,
            momentum=0.9, ns_steps=3, nesterov=False, rms_rate=None,
        )
    ),
    "ScheduleFreeAdamW warmup": lambda k: k.optimizers.ScheduleFreeAdamW(
        0.05, 0.8, 0.9, warmup_steps=8, weight_decay=0.1
    ),
    "SGD averaging": lambda k: k.optimizers.SGD(
        0.05, 0.9, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3
    ),
    "Adam constrained": lambda k: k.optimizers.Adam(
        0.05, epsilon=0.01, use_ema=True, ema_momentum=0.7
    ),
    "SGD constrained accumulating": lambda k: k.optimizers.SGD(
        0.3, gradient_accumulation_steps=3, use_ema=True, ema_overwrite_frequency=2
    ),
    "LossScaleOptimizer": lambda k: k.optimizers.LossScaleOptimizer(
        k.optimizers.Adam(0.02, clipnorm=2.0), dynamic_growth_steps=3
    ),
    "LossScaleOptimizer overflow": lambda k: k.optimizers.LossScaleOptimizer(
        k.optimizers.SGD(0.02, 0.9), initial_scale=2.0**126, dynamic_growth_steps=4
    ),
    "MultiOptimizer": lambda k: k.optimizers.MultiOptimizer(
        k.optimizers.OptimizerMap(
            k.optimizers.SGD(0.05, 0.9, global_clipnorm=1.0),
            {"head/.*": k.optimizers.Adam(0.02, weight_decay=0.1)},
        ),
        loss_scale_factor=4.0,
    ),
}  # fmt: skip
