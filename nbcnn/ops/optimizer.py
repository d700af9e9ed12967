"""Updates in place: optimizers on flat buffers, gradient clipping, assignments and running sums.

These write to their inputs, so they are not differentiated, shared or reordered. `hyper` is a small
float64 array that changes every step without touching the graph: [learning rate, step number from
1, numbers of a rule ...].
"""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.op import Op
from nbcnn.ops.tensor import TensorSpec

HYPER_SIZE = 8
LEARNING_RATE, STEP, RULE = 0, 1, 2  # places in `hyper`; from RULE on a rule's numbers


class StatefulOp(Op):
    """An operation that writes to its first input and has no outputs."""

    stateful = True

    def infer(self, *inputs: TensorSpec) -> tuple[TensorSpec, ...]:
        return ()


class SGDSpec(NamedTuple):
    n: int
    momentum: float
    nesterov: int
    weight_decay: float  # decoupled: w -= lr * weight_decay * w, before the update


@dataclasses.dataclass(frozen=True)
class SGD(StatefulOp):
    """v = momentum * v - lr * g; w += v, or w += momentum * v - lr * g with Nesterov.

    Inputs w, g, hyper and, where momentum is not 0, v. All flat.
    """

    name = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def spec(self, w: TensorSpec, *others: TensorSpec) -> SGDSpec:
        return SGDSpec(w.size, self.momentum, int(self.nesterov), self.weight_decay)


class RMSpropSpec(NamedTuple):
    n: int
    rho: float
    momentum: float
    epsilon: float
    centered: int
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class RMSprop(StatefulOp):
    """s = rho * s + (1 - rho) * g^2; a = rho * a + (1 - rho) * g where centered; d = s - a^2 +
    epsilon; m = momentum * m + lr * g / sqrt(d); w -= m (without momentum: w -= lr * g / sqrt(d)).

    Inputs w, g, hyper, s, then m where momentum is not 0, then a where centered.
    """

    name = "rmsprop"
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    weight_decay: float = 0.0

    def spec(self, w: TensorSpec, *others: TensorSpec) -> RMSpropSpec:
        return RMSpropSpec(
            w.size, self.rho, self.momentum, self.epsilon, int(self.centered), self.weight_decay
        )


class AdamSpec(NamedTuple):
    n: int
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: int
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class Adam(StatefulOp):
    """m += (1 - b1) (g - m); v += (1 - b2) (g^2 - v); a = lr * sqrt(1 - b2^t) / (1 - b1^t);
    w -= a * m / (sqrt(v) + epsilon)  (Kingma & Ba 2014, epsilon as in Keras; amsgrad: max of all
    v).

    Inputs w, g, hyper, m, v, then vmax where amsgrad.
    """

    name = "adam"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    weight_decay: float = 0.0

    def spec(self, w: TensorSpec, *others: TensorSpec) -> AdamSpec:
        return AdamSpec(
            w.size, self.beta_1, self.beta_2, self.epsilon, int(self.amsgrad), self.weight_decay
        )


class UpdateSpec(NamedTuple):
    n: int
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class Update(StatefulOp):
    """A rule of `kernels.update_rules`, after w -= lr * weight_decay * w.

    Inputs w, g, hyper with the rule's numbers, and the rule's states. All flat.
    """

    name = "update"
    rule: str
    weight_decay: float = 0.0

    def spec(self, w: TensorSpec, *others: TensorSpec) -> UpdateSpec:
        return UpdateSpec(w.size, self.weight_decay)


class LambSpec(NamedTuple):
    n: int
    segments: int
    weight_decay: float


@dataclasses.dataclass(frozen=True)
class Lamb(StatefulOp):
    """m += (1 - b1) (g - m); v += (1 - b2) (g^2 - v); u = m' / (sqrt(v') + epsilon) with both
    corrected for their start at 0; w -= lr * |w| / |u| * u with the norms of each variable, whose
    ratio is 1 where one is 0 (You et al. 2019).

    Inputs w, g, hyper, m, v and `segments`, int64 (variables, 2): where each starts and stops.
    Numbers of the rule: 1 - b1, 1 - b2, 1 / (1 - b1^step), 1 / (1 - b2^step), epsilon.
    """

    name = "lamb"
    weight_decay: float = 0.0

    def spec(self, w: TensorSpec, *others: TensorSpec) -> LambSpec:
        return LambSpec(w.size, others[-1].shape[0], self.weight_decay)


class MixSpec(NamedTuple):
    n: int
    keep: float
    rest: float


@dataclasses.dataclass(frozen=True)
class Mix(StatefulOp):
    """target = keep * target + rest * value; what has the factor 0 is not looked at. Inputs target,
    value, which may be the same.
    """

    name = "mix"
    keep: float
    rest: float

    def spec(self, target: TensorSpec, value: TensorSpec) -> MixSpec:
        return MixSpec(target.size, self.keep, self.rest)


class ClipSpec(NamedTuple):
    n: int
    segments: int
    value: float


@dataclasses.dataclass(frozen=True)
class ClipGradients(StatefulOp):
    """In place on the flat gradient g. Inputs g and `bounds`, int64 (segments + 1): where each
    variable starts.

    mode 'value': each element to [-value, value]. 'norm': each variable scaled down to norm
    `value`. 'global_norm': all together scaled down to norm `value`.
    """

    name = "clip_gradients"
    mode: str = "value"
    value: float = 1.0

    @property
    def impl_op(self) -> str:
        return f"clip_gradients_{self.mode}"

    def spec(self, g: TensorSpec, bounds: TensorSpec) -> ClipSpec:
        return ClipSpec(g.size, bounds.size - 1, self.value)


class AssignSpec(NamedTuple):
    n: int


@dataclasses.dataclass(frozen=True)
class Assign(StatefulOp):
    """target[i] = value[i]. Inputs target, value."""

    name = "assign"

    def spec(self, target: TensorSpec, value: TensorSpec) -> AssignSpec:
        return AssignSpec(value.size)


@dataclasses.dataclass(frozen=True)
class Accumulate(StatefulOp):
    """total[0] += sum_i value[i] * weight[i]; total[1] += sum_i weight[i]. Inputs total (float64,
    2), value, weight.

    Sums over the batch are taken in float64, in a fixed order.
    """

    name = "accumulate"

    def spec(self, total: TensorSpec, value: TensorSpec, weight: TensorSpec) -> AssignSpec:
        return AssignSpec(value.size)
