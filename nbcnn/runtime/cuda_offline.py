"""A GPU that is not there: plans are made for it so that their kernels are compiled and kept.

Its arrays have shapes and no memory. What is chosen depends on the architecture's capabilities
alone, so a machine that has such a GPU finds every kernel of the same plan on its disk.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.kernels.cuda import compiling, cubins
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.cuda import EXTRA
from nbcnn.runtime.cuda_memory import DeviceArray
from nbcnn.runtime.cuda_program import wanted
from nbcnn.runtime.cuda_transfers import usual_conversions
from nbcnn.runtime.device import DeviceError
from nbcnn.runtime.transfers import Feed, Outlet

KB = 1024
# Compute capability: multiprocessors of the largest GPU, shared memory that a block may have.
KNOWN = {
    (7, 5): (72, 64 * KB),
    (8, 0): (108, 163 * KB),
    (8, 6): (84, 99 * KB),
    (8, 9): (142, 99 * KB),
    (9, 0): (132, 227 * KB),
    (10, 0): (148, 227 * KB),
    (12, 0): (188, 99 * KB),
}


def capability(name: str) -> tuple[int, int]:
    """(9, 0) of "sm_90" or "sm_90a". Raises ValueError for an architecture that is not known."""
    match = re.fullmatch(r"sm_(\d+)(\d)a?", name) if isinstance(name, str) else None
    found = (int(match[1]), int(match[2])) if match else None
    if found not in KNOWN:
        names = ", ".join(f"sm_{major}{minor}" for major, minor in KNOWN)
        raise ValueError(f"cuda: expected an architecture, one of {names}, got {name!r}")
    return found


class OfflineProgram:
    """Launches whose kernels have been compiled."""

    def __init__(self, calls: Sequence[Launch]):
        self.calls = tuple(calls)
        self.regions = len(self.calls)

    def run(self) -> None:
        """There is nothing to run it on."""


class OfflineFeed(Feed):
    """Compiles what converts batches of usual types."""

    def warm(self) -> None:
        self._device.compile(usual_conversions(self._device.caps, self._target))


class OfflineDevice:
    """See `runtime.device.Device`. `kernels`: all that were asked for; `compiled`: how many of them
    were not on disk.
    """

    kind = "cuda"
    close_bytes = 0
    input_copies = 0

    def __init__(self, name: str):
        found = capability(name)
        self.name, self._target = name, compiling.architecture(found)
        try:
            compiling.versions()
        except compiling.CompilerMissing as error:
            raise DeviceError(f"kernels for {name} cannot be compiled: {error}: {EXTRA}") from error
        multiprocessors, shared = KNOWN[found]
        self._caps = Caps(multiprocessors, found, shared=shared)
        self.kernels: set[cubins.Wanted] = set()
        self.compiled = 0

    @property
    def caps(self) -> Caps:
        return self._caps._replace(tf32=config.matmul_precision() == "high")

    def impls(self, op: Any) -> tuple:
        from nbcnn.kernels.cuda import lists

        return lists.impls(op)

    def compile(self, calls: Sequence[Launch]) -> None:
        kernels = wanted(calls, self._target)
        self.kernels.update(kernels)
        self.compiled += cubins.get(kernels).compiled

    def empty(self, nbytes: int) -> DeviceArray:
        return DeviceArray(0, (nbytes,), np.uint8)

    def free_bytes(self) -> None:
        """As much as anybody wants."""

    def view(
        self, buffer: DeviceArray, offset: int, shape: tuple[int, ...], dtype: str
    ) -> DeviceArray:
        return DeviceArray(offset, shape, dtype)

    def upload(self, target: DeviceArray, source: np.ndarray) -> None:
        """There is nowhere to put it."""

    def download(self, source: DeviceArray) -> np.ndarray:
        return np.zeros(source.shape, source.dtype)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Nothing is there."""

    def synchronize(self) -> None:
        """Nothing runs."""

    def program(self, calls: Sequence[Launch], passes: Sequence[Passes] = ()) -> OfflineProgram:
        self.compile(calls)
        return OfflineProgram(calls)

    def feed(self, program: OfflineProgram, target: DeviceArray, movable: bool) -> Feed:
        return OfflineFeed(self, target)

    def outlet(self, program: OfflineProgram, source: DeviceArray, movable: bool) -> Outlet:
        return Outlet(self, source)
