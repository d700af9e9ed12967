"""A GPU that Numba simulates in Python: correct, and very slow. It exists for tests.

Memory is Numba's simulated arrays, and programs launch kernels as Numba's users do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn import config
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.device import DeviceError
from nbcnn.runtime.transfers import Feed, Outlet


class SimulatedProgram:
    """Launches in order; arguments are arrays and numbers, fixed when the program is made."""

    def __init__(self, launches: Sequence[Launch]):
        self.calls = tuple(launches)
        self.regions = len(self.calls)

    def run(self) -> None:
        for call in self.calls:
            call.kernel[call.grid, call.block, 0, call.shared](*call.args)


class SimulatedDevice:
    """See `runtime.device.Device`."""

    kind = "cuda"
    close_bytes = 0
    input_copies = 0

    def __init__(self, number: int = 0):
        from numba import cuda

        self.name, self._cuda = f"cuda:{number}", cuda
        if number >= len(cuda.gpus):
            raise DeviceError(
                f"device '{self.name}' does not exist: the last one here is "
                f"'cuda:{len(cuda.gpus) - 1}'"
            )

    @property
    def caps(self) -> Caps:
        return Caps(1, (0, 0), simulated=True, tf32=config.matmul_precision() == "high")

    def impls(self, op: Any) -> tuple:
        from nbcnn.kernels.cuda import lists

        return lists.impls(op)

    def empty(self, nbytes: int) -> Any:
        return self._cuda.device_array(nbytes, np.uint8)

    def free_bytes(self) -> None:
        """The host's, which nobody counts."""

    def view(self, buffer: Any, offset: int, shape: tuple[int, ...], dtype: str) -> Any:
        kind = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if nbytes == 0:
            return self._cuda.device_array(shape, kind)
        return buffer[offset : offset + nbytes].view(kind).reshape(shape)

    def upload(self, target: Any, source: np.ndarray) -> None:
        # Copied once more: the simulator drops axes of stride 0, which `x[:, None]` has.
        array = np.empty(target.shape, target.dtype)
        array[...] = np.asarray(source).reshape(target.shape)
        target.copy_to_device(array)

    def download(self, source: Any) -> np.ndarray:
        return np.asarray(source.copy_to_host())

    def copy(self, target: Any, source: Any) -> None:
        self.upload(target, self.download(source))

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def program(self, calls: Sequence[Launch], passes: Sequence[Passes] = ()) -> SimulatedProgram:
        return SimulatedProgram(calls)

    def feed(self, program: SimulatedProgram, target: Any, movable: bool) -> Feed:
        return Feed(self, target)

    def outlet(self, program: SimulatedProgram, source: Any, movable: bool) -> Outlet:
        return Outlet(self, source)
