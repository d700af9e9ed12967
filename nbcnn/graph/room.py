"""Whether a plan fits into a device's memory, before any of it is allocated."""

from collections.abc import Sequence
from typing import Any

from nbcnn.graph.choosing import Step
from nbcnn.ops.tensor import Tensor, TensorSpec
from nbcnn.runtime.device import OutOfMemory

SHOWN = 3  # of the largest tensors

# What memory is for: a tensor, or a node's id and the name of its scratch.
Key = Tensor | tuple[int, str]


def check_room(
    device: Any,
    shared: int,
    within: Sequence[tuple[Key, TensorSpec]],
    results: Sequence[Tensor],
    leaves: Sequence[Tensor],
    steps: Sequence[Step],
) -> None:
    """Raises `OutOfMemory`, naming the largest tensors, where the device has less left than a plan
    needs: `shared` bytes for all that lives `within` it, and memory of their own for its results
    and its leaves, of which devices may keep copies.
    """
    free = device.free_bytes()
    needed = shared + sum(t.spec.nbytes for t in results)
    needed += sum(t.spec.nbytes for t in leaves) * (1 + device.input_copies)
    if free is None or needed <= free:
        return
    wanted: list[tuple[Key, TensorSpec]] = [*within, *((t, t.spec) for t in (*results, *leaves))]
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
