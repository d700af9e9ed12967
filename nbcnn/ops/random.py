"""Random operations from a counter-based generator: the same numbers on any device and any number
of threads.
"""

import dataclasses
from typing import NamedTuple

from nbcnn.ops.op import Op, apply
from nbcnn.ops.tensor import Node, Tensor, TensorSpec


class DropoutSpec(NamedTuple):
    """`keep`: probability of keeping, `scale` = 1 / keep; `stream` tells apart the layers of a
    model.
    """

    n: int
    stream: int
    keep: float
    scale: float


@dataclasses.dataclass(frozen=True)
class Dropout(Op):
    """y[i] = x[i] / (1 - rate) with probability 1 - rate, else 0 (Srivastava et al. 2014).

    Inputs x and `seed`, int64 (2,): the model's seed and the step. The bits of element i are word i
    % 4 of Philox4x32-10 (Salmon et al. 2011) with key = (seed, stream) and counter = (i // 4,
    step); see `kernels/scalar.py`. The gradient repeats the same draw, so no mask is kept.
    """

    name = "dropout"
    rate: float
    stream: int = 0

    def infer(self, x: TensorSpec, seed: TensorSpec) -> tuple[TensorSpec]:
        return (x,)

    def spec(self, x: TensorSpec, seed: TensorSpec) -> DropoutSpec:
        keep = 1.0 - self.rate
        return DropoutSpec(x.size, self.stream, keep, 1.0 / keep)

    def gradient(self, node: Node, *dys: Tensor | None):
        return [apply(self, dys[0], node.inputs[1]), None]

    def flops(self, x: TensorSpec, seed: TensorSpec) -> int:
        return x.size
