"""The steps of a plan: nodes, and which implementation is chosen for each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.kernels.impl import Choice, Scratch, choose
from nbcnn.ops.op import Op
from nbcnn.ops.tensor import Node, Tensor, TensorSpec

CONSTANT, WEIGHTS, STEP = 0, 1, 2  # how often a node runs: once, per weight change, every time


@dataclasses.dataclass
class Step:
    """A node with its chosen implementation and, once bound, its kernel calls."""

    node: Node
    spec: Any
    choice: Choice
    scratch: dict[str, Scratch]
    phase: int
    stretch: Any = None  # in which it works in passes (`graph.stretches`)
    calls: list = dataclasses.field(default_factory=list)
    steady: list = dataclasses.field(default_factory=list)  # calls in each run of its phase

    @property
    def flops(self) -> int:
        return self.node.op.flops(*(t.spec for t in self.node.inputs))

    @property
    def nbytes(self) -> int:
        return sum(t.spec.nbytes for t in (*self.node.inputs, *self.node.outputs))


def select(op: Op, inputs: Sequence[Tensor], device: Any) -> tuple[Any, Choice | None]:
    """The op's spec on these inputs and the chosen implementation."""
    return select_for(op, [t.spec for t in inputs], device)


def select_for(op: Op, specs: Sequence[TensorSpec], device: Any) -> tuple[Any, Choice | None]:
    """As `select`, for inputs of these shapes and types."""
    spec = op.spec(*specs)
    wanted = preferred(op), excluded(op)
    return spec, choose(device.impls(op), spec, main_dtype(op, specs), device.caps, *wanted)


def step_for(
    node: Node, op: Op, specs: Sequence[TensorSpec], phase: int, device: Any
) -> Step | None:
    """The step that does a node's operation on inputs of these shapes and types; None where the
    device cannot.
    """
    spec, choice = select_for(op, specs, device)
    if choice is None:
        return None
    scratch = choice.impl.scratch(spec, main_dtype(op, specs), device.caps)
    return Step(node, spec, choice, scratch, phase)


# The families of convolution kernels that a user can pick between, as the implementations they
# stand for.
CONV_FAMILIES = {"auto": (), "direct": ("direct", "plain"), "im2col": ("im2col",)}


# What `set_winograd` rules out.
EXCLUDED: dict[str, tuple[str, ...]] = {
    "auto": (),
    "f2": ("winograd_f4",),
    "off": ("winograd_f4", "winograd_f2"),
}


def preferred(op: Op) -> tuple[str, ...]:
    """Implementations to try first: forced ones, then the layer's choice, then the program's."""
    forced = config.forced(op.name)
    if forced is not None:
        return (forced,)
    if not hasattr(op, "algorithm"):
        return ()
    return CONV_FAMILIES[op.algorithm or config.conv_algorithm()]


def excluded(op: Op) -> dict[str, str]:
    """Implementations that the program's settings rule out, and why; forcing one overrides that."""
    allowed = config.winograd()
    names = EXCLUDED[allowed] if config.forced(op.name) is None else ()
    return dict.fromkeys(names, f"set_winograd is {allowed!r}")


def main_dtype(op: Op, inputs: Sequence[TensorSpec]) -> str:
    """The dtype that decides which kernels fit: the first float among the inputs, else the first
    input's.
    """
    return next(
        (s.dtype for s in inputs if np.dtype(s.dtype).kind == "f"),
        inputs[0].dtype if inputs else "float32",
    )
