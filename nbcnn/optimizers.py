"""Optimizers as declarations: the update rule itself is a graph operation over the flat parameter
buffer.

Each class says which operation (`op`), which state buffers (`slots`) and which settings
(`hyperparameters()`) it takes; the learning rate and the step count change while training and are
read at each step. With g the gradient after clipping, w the weights and lr the learning rate, every
rule first applies w -= lr * weight_decay * w to the weights that are not excluded.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from nbcnn import schedules as schedules
from nbcnn.declare import Declared, Expected, arg, fraction, non_negative, positive
from nbcnn.registry import Family
from nbcnn.registry import serialize as serialize
from nbcnn.schedules import LearningRateSchedule

family = Family("optimizer", "keras.optimizers")


class LearningRate(float):
    """A float that also has the `numpy()` and `assign()` of a Keras variable."""

    optimizer: "Optimizer"

    def numpy(self) -> float:
        return float(self)

    def assign(self, value: float) -> None:
        """Sets the optimizer's learning rate."""
        self.optimizer.learning_rate = value


def _rate(value: Any) -> Any:
    if isinstance(value, (str, bytes)) or value is None:
        raise Expected("must be a number, a LearningRateSchedule or a callable")
    if isinstance(value, Mapping):
        return schedules.family.get(value)
    if callable(value):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Expected("must be a number, a LearningRateSchedule or a callable") from None
    if not 0 <= number < float("inf"):
        raise Expected("must be finite and not negative")
    return number


class Optimizer(Declared, family=family):
    """Base of optimizers.

    Parameters
    ----------
    learning_rate : number, schedule, or function without arguments that returns the rate.
    weight_decay : None or the factor of the decoupled decay.
    clipnorm : None, or each gradient is scaled down to at most this norm.
    clipvalue : None, or gradients are clipped to ±clipvalue.
    global_clipnorm : None, or all gradients together are scaled down to at most this norm.
    name : automatic by default.

    Raises
    ------
    ValueError
        For more than one kind of clipping, or numbers out of range.
    """

    op: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()

    weight_decay: float | None = arg(None, check=non_negative, last=True)
    clipnorm: float | None = arg(None, check=positive, last=True)
    clipvalue: float | None = arg(None, check=positive, last=True)
    global_clipnorm: float | None = arg(None, check=positive, last=True)
    name: str | None = arg(None, last=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.iterations = 0
        self._excluded: tuple[set[int], re.Pattern | None] = (set(), None)
        limits = ("clipnorm", "clipvalue", "global_clipnorm")
        given = {n: getattr(self, n) for n in limits if getattr(self, n) is not None}
        if len(given) > 1:
            owner = type(self).__name__
            raise ValueError(f"{owner}: only one of {', '.join(limits)} can be given, got {given}")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state buffers, each as large as the parameters."""
        return ()

    def hyperparameters(self) -> dict[str, Any]:
        """The settings that the operation takes, by its own names."""
        settings = {name: getattr(self, name) for name in self.settings}
        return {**settings, "weight_decay": self.weight_decay or 0.0}

    @property
    def clipping(self) -> tuple[str, float] | None:
        """How gradients are limited: mode "value", "norm" or "global_norm" and the limit, or
        None.
        """
        limits = {
            "value": self.clipvalue,
            "norm": self.clipnorm,
            "global_norm": self.global_clipnorm,
        }
        return next(((m, limit) for m, limit in limits.items() if limit is not None), None)

    @property
    def learning_rate(self) -> LearningRate:
        """The rate of the next update; assigning a number, schedule or function changes it."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            rate = rate(self.iterations)
        elif callable(rate):
            rate = rate()
        number = LearningRate(rate)
        number.optimizer = self
        return number

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        owner = type(self).__name__
        scheduled = isinstance(getattr(self, "_learning_rate", None), LearningRateSchedule)
        try:
            rate = _rate(value)
        except Expected as error:
            raise ValueError(f"{owner}: learning_rate {error}, got {value!r}") from None
        if scheduled and not callable(rate):
            raise TypeError(
                f"{owner}: learning_rate is a schedule and cannot be set to a number; "
                "create the optimizer with a number instead"
            )
        self._learning_rate = rate

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Names weights that do not decay.

        Parameters
        ----------
        var_list : weights, by identity.
        var_names : regular expressions; a weight whose name contains a match does not decay.
        """
        listed = {id(variable) for variable in var_list or ()}
        pattern = re.compile("|".join(var_names)) if var_names else None
        self._excluded = (listed, pattern)

    def decays(self, variable: Any) -> bool:
        """Whether weight decay applies to a weight (an object with a `name`)."""
        if self.weight_decay is None:
            return False
        listed, pattern = self._excluded
        named = pattern is not None and pattern.search(variable.name) is not None
        return id(variable) not in listed and not named

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate": serialize(self._learning_rate)}


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

    learning_rate: Any = arg(0.01, convert=_rate)
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

    learning_rate: Any = arg(0.001, convert=_rate)
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

    learning_rate: Any = arg(0.001, convert=_rate)
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
