"""What optimizers have in common, and what they tell the engine that runs them.

An optimizer says for every weight which operation over the flat parameter buffer updates it and
which state it needs (`part`), and for every step which numbers the operation takes (`numbers`). The
learning rate and the count of steps are read at each step. With g the gradient after clipping, w
the weights and lr the learning rate, every rule first applies w -= lr * weight_decay * w to the
weights that are not excluded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nbcnn import schedules
from nbcnn.declare import Arg, Declared, Expected, arg, fraction, non_negative, positive
from nbcnn.ops.op import REGISTRY, Op
from nbcnn.ops.optimizer import LEARNING_RATE, RULE, STEP
from nbcnn.optimizer_apply import Applying
from nbcnn.registry import Family, is_own, serialize
from nbcnn.schedules import LearningRateSchedule

AVERAGE, ACCUMULATOR = "average", "gradient_accumulator"  # state of any optimizer

family = Family("optimizer", "keras.optimizers")


class LearningRate(float):
    """A float that also has the `numpy()` and `assign()` of a Keras variable."""

    optimizer: "Optimizer"

    def numpy(self) -> float:
        return float(self)

    def assign(self, value: float) -> None:
        """Sets the optimizer's learning rate."""
        self.optimizer.learning_rate = value


def rate_of(value: Any) -> Any:
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


def _count(least: int) -> Any:
    def check(value: Any) -> str | None:
        return None if value >= least else f"must be an integer of at least {least}"

    return check


class Part(NamedTuple):
    """How weights are updated: those with equal parts lie in one buffer.

    optimizer: whose numbers the update takes. op: the operation, which includes the decay, or None
    where `optimizer.compose`, or a user's `update_step`, makes the update of each weight.
    weight_decay: its factor. slots:
    names of the state.
    """

    optimizer: "Optimizer"
    op: Op | None
    weight_decay: float
    slots: tuple[str, ...]


class Optimizer(Applying, Declared, family=family):
    """Base of optimizers.

    One of one's own defines `update_step(gradient, variable, learning_rate)` out of `nbcnn.ops`
    and `assign`, and makes its state in `build(variables)`.

    Parameters
    ----------
    learning_rate : number, schedule, or function without arguments that returns the rate.
    weight_decay : None or the factor of the decoupled decay.
    clipnorm : None, or each gradient is scaled down to at most this norm.
    clipvalue : None, or gradients are clipped to ±clipvalue.
    global_clipnorm : None, or all gradients together are scaled down to at most this norm.
    use_ema : keep a moving average of the weights, which replaces them when `fit` ends.
    ema_momentum : from 0 to 1, how much of the average each step keeps; default 0.99.
    ema_overwrite_frequency : None, or the average replaces the weights every so many steps.
    loss_scale_factor : None, or the loss is multiplied by this and gradients are divided by it.
    gradient_accumulation_steps : None, or weights change every so many steps (at least 2), by the
        mean of the gradients since the last change.
    name : automatic by default.

    Raises
    ------
    ValueError
        For more than one kind of clipping, or numbers out of range.
    """

    op: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    store: ClassVar[Any] = None  # a weak reference to what holds the state, once there is one
    needs_finite: ClassVar[bool] = False  # whether `judge` decides over each step

    weight_decay: float | None = arg(None, check=non_negative, last=True)
    clipnorm: float | None = arg(None, check=positive, last=True)
    clipvalue: float | None = arg(None, check=positive, last=True)
    global_clipnorm: float | None = arg(None, check=positive, last=True)
    use_ema: bool = arg(False, last=True)
    ema_momentum: float = arg(0.99, check=fraction, last=True)
    ema_overwrite_frequency: int | None = arg(None, check=_count(1), last=True)
    loss_scale_factor: float | None = arg(None, check=positive, last=True)
    gradient_accumulation_steps: int | None = arg(None, check=_count(2), last=True)
    name: str | None = arg(None, last=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        plain = cls.learning_rate is Optimizer.learning_rate
        if not is_own(cls) and plain and "learning_rate" not in cls.fields:
            cls.fields = {"learning_rate": Arg(convert=rate_of), **cls.fields}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.step_count = 0  # of batches; fewer change the weights where gradients accumulate
        self._excluded: tuple[set[int], re.Pattern | None] = (set(), None)
        limits = ("clipnorm", "clipvalue", "global_clipnorm")
        given = {n: getattr(self, n) for n in limits if getattr(self, n) is not None}
        if len(given) > 1:
            owner = type(self).__name__
            raise ValueError(f"{owner}: only one of {', '.join(limits)} can be given, got {given}")

    @property
    def iterations(self) -> Any:
        """How often the weights have changed; within `update_step` a tensor."""
        if self._step is not None:
            return self._step
        return self.step_count // (self.gradient_accumulation_steps or 1)

    @iterations.setter
    def iterations(self, value: int) -> None:
        self.step_count = value * (self.gradient_accumulation_steps or 1)

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """Weights get the values of their moving averages, where there are any; `fit` ends so.

        Parameters
        ----------
        var_list : the weights.
        """
        store = None if self.store is None else self.store()
        if store is not None:
            store.take_averages(var_list)

    # -- for the engine -------------------------------------------------------------------------

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the rule's state, each as large as the weights where `slot_shape` says no
        other.
        """
        return ()

    @property
    def common_slots(self) -> tuple[str, ...]:
        """Names of the state that any rule may need beside its own."""
        averages = (AVERAGE,) if self.use_ema else ()
        return (*averages, *((ACCUMULATOR,) if self.gradient_accumulation_steps else ()))

    def slot_shape(self, slot: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a state, for a weight of this shape."""
        return shape

    def slot_start(self, slot: str) -> float | None:
        """The number that a state is filled with at first; None where it starts as the weights."""
        return 0.0

    def hyperparameters(self) -> dict[str, Any]:
        """The settings that the operation takes, by its own names."""
        settings = {name: getattr(self, name) for name in self.settings}
        return {**settings, "weight_decay": self.weight_decay or 0.0}

    def part(self, variable: Any) -> Part:
        """How this weight is updated."""
        decay = (self.weight_decay or 0.0) if self.decays(variable) else 0.0
        if self.has_own_rule:
            return Part(self, None, decay, self.common_slots)
        op = REGISTRY[self.op](**{**self.hyperparameters(), "weight_decay": decay})
        return Part(self, op, decay, (*self.slots, *self.common_slots))

    def numbers(self, rate: float, step: int) -> Sequence[float]:
        """What the operation takes beside the rate and the step, at a step counted from 1."""
        return ()

    def fill(self, hyper: np.ndarray) -> None:
        """Put the numbers of the coming step into `hyper`, see `nbcnn.ops.optimizer`."""
        rate, step = float(self.learning_rate), self.iterations + 1
        numbers = self.numbers(rate, step)
        hyper[LEARNING_RATE], hyper[STEP] = rate, step
        hyper[RULE : RULE + len(numbers)] = numbers

    def compose(
        self, w: Any, g: Any, state: Mapping[str, Any], hyper: Sequence[Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The new weight and state as tensors, from tensors: the weight after its decay, its
        gradient, its state, and the step's numbers as scalars.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule of its own")

    def count(self) -> None:
        """A step is over."""
        self.step_count += 1

    def get_state(self) -> dict[str, Any]:
        """What changes from step to step beside arrays, as plain values."""
        return {"step_count": self.step_count}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `get_state`."""
        self.step_count = int(state["step_count"])

    def judge(self, finite: bool) -> bool:
        """Whether weights change, after a look at the gradients."""
        return True

    @property
    def loss_scale(self) -> float | None:
        """What the loss is multiplied by at the coming step."""
        return self.loss_scale_factor

    # -- settings -------------------------------------------------------------------------------

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
            rate = rate(self.step_count)
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
            rate = rate_of(value)
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
        return self.weight_decay is not None and not self.is_excluded(variable)

    def is_excluded(self, variable: Any) -> bool:
        """Whether `exclude_from_weight_decay` named this weight."""
        listed, pattern = self._excluded
        named = pattern is not None and pattern.search(variable.name) is not None
        return id(variable) in listed or named

    def __getstate__(self) -> dict[str, Any]:
        kept_apart = ("store", "_kept_store", "_applications")
        return {name: value for name, value in vars(self).items() if name not in kept_apart}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values, the learning rate as it is now."""
        return {**super().get_config(), "learning_rate": serialize(self._learning_rate)}
