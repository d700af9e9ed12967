"""Whether a plan fits into a device's memory, before any of it is allocated."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nbcnn.graph.choosing import Step
from nbcnn.graph.memory import ALIGNMENT, Lifetime, pack
from nbcnn.ops.tensor import Tensor, TensorSpec
from nbcnn.runtime.device import OutOfMemory

SHOWN = 3  # of the largest tensors

# What memory is for: a tensor, or a node's id and the name of its scratch.
Key = Tensor | tuple[int, str]


class Needs(NamedTuple):
    """Bytes that a plan needs.

    values: for what is computed within a run, where nothing else is in the arena. scratch: what
    kernels' own memory adds to that. lasting: kept between runs, as packed weights and constants.
    results: outputs. leaves: inputs, with the copies that a device keeps of them.
    """

    values: int
    scratch: int
    lasting: int
    results: int
    leaves: int


def check_room(
    device: Any,
    arena: int,
    growth: int,
    lasting: int,
    within: Sequence[tuple[Key, TensorSpec, Lifetime]],
    results: Sequence[Tensor],
    leaves: Sequence[Tensor],
    steps: Sequence[Step],
) -> None:
    """Raises `OutOfMemory`, naming the largest tensors, where the device has less left than a plan
    needs: an `arena` for all that lives `within` a run, for which an existing one has to grow by
    `growth` bytes, `lasting` ones between runs, and memory of their own for its results and its
    leaves, of which devices may keep copies.
    """
    free = device.free_bytes()
    outputs = sum(t.spec.nbytes for t in results)
    inputs = sum(t.spec.nbytes for t in leaves) * (1 + device.input_copies)
    needed = growth + lasting + outputs + inputs
    if free is None or needed <= free:
        return
    _, values = pack([life for key, _, life in within if isinstance(key, Tensor)], ALIGNMENT)
    values = min(values, arena)
    wanted: list[tuple[Key, TensorSpec]] = [
        *((key, spec) for key, spec, _ in within),
        *((t, t.spec) for t in (*results, *leaves)),
    ]
    largest = sorted(wanted, key=lambda item: item[1].nbytes, reverse=True)[:SHOWN]
    names = {id(step.node): step.node.op.name for step in steps}
    shown = [
        f"{_title(key, names)}, {spec.shape} {spec.dtype}, {spec.nbytes:,} bytes"
        for key, spec in largest
    ]
    raise OutOfMemory(
        f"{device.name} has {free:,} bytes of memory left, this step needs {needed:,}; the largest "
        f"tensors are: {'; '.join(shown)}",
        needed,
        free,
        Needs(values, arena - values, lasting, outputs, inputs),
    )


def _title(key: Key, names: dict[int, str]) -> str:
    if isinstance(key, tuple):
        return f"{key[1]} of {names[key[0]]}"
    return f"result of {key.node.op.name}" if key.node is not None else f"input {key.name}"


class Measuring:
    """A device that has no room for anything: a plan for it says what it needs, and allocates and
    compiles nothing.
    """

    def __init__(self, device: Any):
        self._device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def free_bytes(self) -> int:
        return -1
