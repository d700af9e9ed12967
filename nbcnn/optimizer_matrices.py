"""Optimizers that look at the rows and columns of each weight: their updates are put together from
ordinary operations, one weight at a time.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nbcnn import ops
from nbcnn.declare import Expected, arg, fraction, non_negative, positive
from nbcnn.ops.optimizer import RULE, Update
from nbcnn.optimizer_base import Optimizer, Part, rate_of


def _mean_square(x: Any) -> Any:
    return ops.mean(ops.square(x))


def _patterns(value: Any) -> list[str]:
    if isinstance(value, str) or not all(isinstance(v, str) for v in value or ()):
        raise Expected("must be a list of regular expressions")
    return list(value or ())


class Adafactor(Optimizer):
    """Mean squares of gradients by rows and columns (Shazeer & Stern 2018); t counts from 1. With
    b = 1 - t ** beta_2_decay, of a weight of two or more axes, the last two being rows and columns,
    and with g² + epsilon_1 for g²:

        r = b * r + (1 - b) * mean of g² over columns
        c = b * c + (1 - b) * mean of g² over rows
        v = r / mean(r) * c                     (of other weights v = b * v + (1 - b) * g²)
        u = g / sqrt(v), divided by max(1, rms(u) / clip_threshold)
        w -= max(epsilon_2, rms(w)) * min(lr, 1 / sqrt(t)) * u

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_2_decay : default -0.8.
    epsilon_1 : default 1e-30.
    epsilon_2 : default 1e-3.
    clip_threshold : default 1.
    relative_step : accepted for Keras's sake; the rate is at most 1 / sqrt(t) either way.
    """

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_2_decay: float = -0.8
    epsilon_1: float = arg(1e-30, check=non_negative)
    epsilon_2: float = arg(1e-3, check=non_negative)
    clip_threshold: float = arg(1.0, check=positive)
    relative_step: bool = True

    def part(self, variable: Any) -> Part:
        decay = (self.weight_decay or 0.0) if self.decays(variable) else 0.0
        slots = ("row", "column") if len(variable.shape) > 1 else ("velocity",)
        return Part(self, None, decay, (*slots, *self.common_slots))

    def slot_shape(self, slot: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        kept = {"row": shape[:-1], "column": (*shape[:-2], *shape[-1:])}
        return kept.get(slot, shape)

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        rest = float(step) ** self.beta_2_decay
        return min(rate, 1.0 / math.sqrt(step)), 1.0 - rest, rest

    def compose(
        self, w: Any, g: Any, state: Mapping[str, Any], hyper: Sequence[Any]
    ) -> tuple[Any, dict[str, Any]]:
        rate, keep, rest = hyper[RULE : RULE + 3]
        square = ops.square(g) + self.epsilon_1

        def mixed(old: Any, new: Any) -> Any:
            return keep * old + rest * new

        if "velocity" in state:
            v = mixed(state["velocity"], square)
            renewed = {"velocity": v}
        else:
            r = mixed(state["row"], ops.mean(square, axis=-1))
            c = mixed(state["column"], ops.mean(square, axis=-2))
            renewed = {"row": r, "column": c}
            share = r / ops.mean(r, axis=-1, keepdims=True)
            v = ops.expand_dims(share, -1) * ops.expand_dims(c, -2)
        # Where neither row nor column has a gradient v underflows; 0 / 0 would be NaN.
        u = g / ops.sqrt(ops.maximum(v, 1e-37))
        u = u / ops.maximum(ops.sqrt(_mean_square(u)) / self.clip_threshold, 1.0)
        size = ops.maximum(ops.sqrt(_mean_square(w)), self.epsilon_2)
        return w - size * rate * u, renewed


class Muon(Optimizer):
    """Momentum, made orthogonal, for matrices (Jordan et al. 2024); AdamW for all other weights.

        m = momentum * m + g
        d = g + momentum * m                    without nesterov d = m
        x = d / |d|, then ns_steps times with A = x xᵀ: x = a * x + (b * A + c * A A) x
        w -= lr * rms_rate * sqrt(max(rows, columns)) * x

    where rows are at most as many as columns, else of the transpose.

    Parameters
    ----------
    learning_rate : default 0.001.
    adam_beta_1, adam_beta_2, epsilon : of AdamW; default 0.9, 0.999 and 1e-7.
    adam_weight_decay, weight_decay : of AdamW's weights and of the matrices; default 0.004.
    exclude_layers : regular expressions; weights whose path contains a match are AdamW's.
    exclude_embeddings : weights with "embedding" in their path are AdamW's; default True.
    muon_a, muon_b, muon_c : the iteration's coefficients.
    adam_lr_ratio : AdamW's rate by that of the matrices; default 1.
    momentum : default 0.95.
    ns_steps : steps of the iteration; default 5.
    nesterov : default True.
    rms_rate : default 0.2; None leaves out the factor rms_rate * sqrt(max(rows, columns)).
    """

    learning_rate: Any = arg(0.001, convert=rate_of)
    adam_beta_1: float = arg(0.9, check=fraction)
    adam_beta_2: float = arg(0.999, check=fraction)
    adam_weight_decay: float | None = arg(0.004, check=non_negative)
    epsilon: float = arg(1e-7, check=non_negative)
    weight_decay = 0.004
    exclude_layers: Any = arg(None, convert=_patterns, last=True)
    exclude_embeddings: bool = arg(True, last=True)
    muon_a: float = arg(3.4445, last=True)
    muon_b: float = arg(-4.775, last=True)
    muon_c: float = arg(2.0315, last=True)
    adam_lr_ratio: float = arg(1.0, check=non_negative, last=True)
    momentum: float = arg(0.95, check=fraction, last=True)
    ns_steps: int = arg(5, check=non_negative, last=True)
    nesterov: bool = arg(True, last=True)
    rms_rate: float | None = arg(0.2, check=non_negative, last=True)

    def part(self, variable: Any) -> Part:
        if not self._is_adams(variable):
            decay = 0.0 if self.is_excluded(variable) else self.weight_decay or 0.0
            return Part(self, None, decay, ("momentum", *self.common_slots))
        decay = 0.0 if self.is_excluded(variable) else self.adam_weight_decay or 0.0
        slots = ("momentum", "velocity", *self.common_slots)
        return Part(self, Update("adam", decay), decay, slots)

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        """Those of the weights that are AdamW's."""
        beta_1, beta_2 = self.adam_beta_1, self.adam_beta_2
        scale = rate * self.adam_lr_ratio * math.sqrt(1.0 - beta_2**step)
        return scale / (1.0 - beta_1**step), 1.0 - beta_1, 1.0 - beta_2, self.epsilon

    def _is_adams(self, variable: Any) -> bool:
        embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        excluded = any(re.search(word, variable.path) for word in self.exclude_layers)
        return len(variable.shape) != 2 or embedding or excluded

    def compose(
        self, w: Any, g: Any, state: Mapping[str, Any], hyper: Sequence[Any]
    ) -> tuple[Any, dict[str, Any]]:
        m = self.momentum * state["momentum"] + g
        x = g + self.momentum * m if self.nesterov else m
        rows, columns = w.shape
        if rows > columns:
            x = ops.transpose(x)
        x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
        for _ in range(self.ns_steps):
            a = ops.matmul(x, ops.transpose(x))
            b = self.muon_b * a + ops.matmul(self.muon_c * a, a)
            x = self.muon_a * x + ops.matmul(b, x)
        if rows > columns:
            x = ops.transpose(x)
        scale = 1.0 if self.rms_rate is None else self.rms_rate * math.sqrt(max(rows, columns))
        return w - hyper[0] * scale * x, {"momentum": m}
