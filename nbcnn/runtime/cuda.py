"""NVIDIA GPUs through numba-cuda: device memory and kernel launches.

numba-cuda is imported when a GPU is opened, not before: that costs half a second, and it is an
optional extra. With NUMBA_ENABLE_CUDASIM=1 in the environment Numba simulates a GPU in Python
instead; the simulator is part of Numba itself. All work goes to CUDA's default stream, in order.

State: checked in the simulator and compiled for real GPUs, but not yet run on one.
"""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.device import DeviceError
from nbcnn.runtime.transfers import Feed, Outlet

EXTRA = "pip install 'nbcnn[cuda13]' (or 'nbcnn[cuda12]' for a driver older than 580)"


def simulated() -> bool:
    """Whether Numba simulates CUDA in this process, which it decides when it is first imported."""
    from numba import config

    return bool(config.ENABLE_CUDASIM)


def driver_library() -> Any | None:
    """The NVIDIA driver's library, or None where it is not installed."""
    for name in ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libcuda.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def gpu_count(driver: Any) -> int:
    """GPUs that the driver offers to this process."""
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def missing() -> str | None:
    """Why CUDA cannot be used here and how to get it, or None where it can; cheap, and imports
    nothing.

    A simulated GPU is none: it exists for tests and has to be asked for by name.
    """
    driver = driver_library()
    if driver is None:
        return (
            "no NVIDIA driver was found on this machine; if it has an NVIDIA GPU, install "
            f"the driver from https://www.nvidia.com/drivers, then {EXTRA}"
        )
    if gpu_count(driver) == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else ""
        return f"the NVIDIA driver is there but offers no GPU{hidden}; `nvidia-smi` should list one"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"there is a GPU and a driver, but the package numba-cuda is not installed: {EXTRA}"
    if simulated():
        return "NUMBA_ENABLE_CUDASIM is set, so this process can reach a simulated GPU only"
    return None


class CudaProgram:
    """Launches in order; arguments are device arrays and numbers, fixed when the program is
    made.
    """

    def __init__(self, gpu: Any, launches: Sequence[Launch]):
        self._gpu = gpu
        self.calls = tuple(launches)
        self.regions = len(self.calls)

    def run(self) -> None:
        with self._gpu:
            for call in self.calls:
                call.kernel[call.grid, call.block, 0, call.shared](*call.args)


class CudaDevice:
    """See `runtime.device.Device`."""

    kind = "cuda"
    close_bytes = 0

    def __init__(self, number: int = 0):
        reason = None if simulated() else missing()
        if reason is not None:
            raise DeviceError(f"device 'cuda:{number}' cannot be used: {reason}")
        from numba import cuda  # numba-cuda takes the place of Numba's own module of this name

        self.name = f"cuda:{number}"
        self._cuda = cuda
        if not simulated() and not cuda.is_available():
            raise DeviceError(
                f"device '{self.name}' cannot be used: numba-cuda cannot compile here "
                f"({cuda.cuda_error() or 'libNVVM is missing'}): {EXTRA}"
            )
        if number >= len(cuda.gpus):
            last = len(cuda.gpus) - 1
            raise DeviceError(
                f"device '{self.name}' does not exist: the last one here is 'cuda:{last}'"
            )
        self._gpu = cuda.gpus[number]
        with self._gpu:
            self.caps = self._read_caps()

    def _read_caps(self) -> Caps:
        if simulated():
            return Caps(1, (0, 0), simulated=True)
        gpu = self._cuda.get_current_device()
        return Caps(gpu.MULTIPROCESSOR_COUNT, tuple(gpu.compute_capability))

    def impls(self, op: Any) -> tuple:
        from nbcnn.kernels.cuda import lists

        return lists.impls(op)

    def empty(self, nbytes: int) -> Any:
        """Uninitialised bytes; CUDA aligns them to 256."""
        with self._gpu:
            return self._cuda.device_array(nbytes, np.uint8)

    def view(self, buffer: Any, offset: int, shape: tuple[int, ...], dtype: str) -> Any:
        kind = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        with self._gpu:
            if nbytes == 0:
                return self._cuda.device_array(shape, kind)
            return buffer[offset : offset + nbytes].view(kind).reshape(shape)

    def upload(self, target: Any, source: np.ndarray) -> None:
        values = np.ascontiguousarray(source, dtype=target.dtype).reshape(target.shape)
        with self._gpu:
            target.copy_to_device(values)

    def download(self, source: Any) -> np.ndarray:
        with self._gpu:
            return np.asarray(source.copy_to_host())

    def synchronize(self) -> None:
        with self._gpu:
            self._cuda.synchronize()

    def program(self, calls: Sequence[Launch], passes: Sequence[Passes] = ()) -> CudaProgram:
        return CudaProgram(self._gpu, calls)

    def feed(self, program: CudaProgram, target: Any, movable: bool) -> Feed:
        return Feed(self, target)

    def outlet(self, program: CudaProgram, source: Any, movable: bool) -> Outlet:
        return Outlet(self, source)


def open_device(number: int) -> CudaDevice:
    return CudaDevice(number)
