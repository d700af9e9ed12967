"""Optimizers as declarations: which operation updates weights, from which settings and state.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
"""

from collections.abc import Mapping
from typing import Any

from nbcnn import schedules as schedules
from nbcnn.declare import arg, fraction, non_negative
from nbcnn.optimizer_base import LearningRate as LearningRate
from nbcnn.optimizer_base import Optimizer as Optimizer
from nbcnn.optimizer_base import family, rate_of
from nbcnn.optimizer_matrices import Adafactor as Adafactor
from nbcnn.optimizer_matrices import Muon as Muon
from nbcnn.optimizer_rules import Adadelta as Adadelta
from nbcnn.optimizer_rules import Adagrad as Adagrad
from nbcnn.optimizer_rules import Adamax as Adamax
from nbcnn.optimizer_rules import Ftrl as Ftrl
from nbcnn.optimizer_rules import Lamb as Lamb
from nbcnn.optimizer_rules import Lion as Lion
from nbcnn.optimizer_rules import Nadam as Nadam
from nbcnn.optimizer_rules import ScheduleFreeAdamW as ScheduleFreeAdamW
from nbcnn.optimizer_wrappers import LossScaleOptimizer as LossScaleOptimizer
from nbcnn.optimizer_wrappers import MultiOptimizer as MultiOptimizer
from nbcnn.optimizer_wrappers import OptimizerMap as OptimizerMap
from nbcnn.registry import serialize as serialize

__all__ = [
    "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion",
    "LossScaleOptimizer", "MultiOptimizer", "Muon", "Nadam", "Optimizer", "OptimizerMap",
    "RMSprop", "ScheduleFreeAdamW", "deserialize", "get", "schedules", "serialize",
]  # fmt: skip


class SGD(Optimizer):
    """Gradient descent: w -= lr * g; with momentum m:

        m = momentum * m - lr * g
        w += m                              or, with nesterov, w += momentum * m - lr * g

    Parameters
    ----------
    learning_rate : default 0.01.
    momentum : from 0 (default, none) to 1.
    nesterov : default False.
    """

    op = "sgd"
    settings = ("momentum", "nesterov")

    learning_rate: Any = arg(0.01, convert=rate_of)
    momentum: float = arg(0.0, check=fraction)
    nesterov: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()


class RMSprop(Optimizer):
    """Gradients divided by their running root mean square:

        v = rho * v + (1 - rho) * g²
        w -= lr * g / sqrt(v - a² + epsilon)        a, the running mean of g, only if centered
        with momentum: m = momentum * m + lr * g / sqrt(...), w -= m

    Parameters
    ----------
    learning_rate : default 0.001.
    rho : default 0.9.
    momentum : default 0.
    epsilon : default 1e-7.
    centered : default False.
    """

    op = "rmsprop"
    settings = ("rho", "momentum", "epsilon", "centered")

    learning_rate: Any = arg(0.001, convert=rate_of)
    rho: float = arg(0.9, check=fraction)
    momentum: float = arg(0.0, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)
    centered: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        momentum = ("momentum",) if self.momentum else ()
        return ("velocity", *momentum, *(("average_gradient",) if self.centered else ()))


class Adam(Optimizer):
    """Running mean and mean square of the gradient, both corrected for their start at zero; t
    counts from 1:

        m += (1 - beta_1) * (g - m)
        v += (1 - beta_2) * (g² - v)                with amsgrad the largest v so far is used below
        w -= lr * sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t) * m / (sqrt(v) + epsilon)

    Parameters
    ----------
    learning_rate : default 0.001.
    beta_1, beta_2 : default 0.9 and 0.999.
    epsilon : default 1e-7.
    amsgrad : default False.
    """

    op = "adam"
    settings = ("beta_1", "beta_2", "epsilon", "amsgrad")

    learning_rate: Any = arg(0.001, convert=rate_of)
    beta_1: float = arg(0.9, check=fraction)
    beta_2: float = arg(0.999, check=fraction)
    epsilon: float = arg(1e-7, check=non_negative)
    amsgrad: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity", *(("velocity_hat",) if self.amsgrad else ()))


class AdamW(Adam, first=("learning_rate", "weight_decay")):
    """Adam with decoupled weight decay, 0.004 by default."""

    weight_decay = 0.004

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight_decay is None:
            raise ValueError("AdamW: weight_decay must be a number, got None")


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that a name, class, configuration or instance means; None stays None."""
    optimizer = family.get(identifier)
    if optimizer is None or isinstance(optimizer, Optimizer):
        return optimizer
    raise ValueError(f"expected an optimizer, its name or its configuration, got {identifier!r}")


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The optimizer that `serialize` described."""
    return family.get(config, custom_objects)
