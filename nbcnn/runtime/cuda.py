"""NVIDIA GPUs through numba-cuda: whether they can be used here, and opening one.

numba-cuda is imported when a GPU is opened, not before: that costs half a second, and it is an
optional extra. With NUMBA_ENABLE_CUDASIM=1 in the environment Numba simulates a GPU in Python
instead (`cuda_simulator`); the simulator is part of Numba itself.

State: checked in the simulator and with a stand-in for the driver, and compiled for real GPUs, but
not yet run on one.
"""

import ctypes
import importlib.util
import os
import sys
from importlib import metadata
from typing import Any

from nbcnn.runtime.device import DeviceError

EXTRA = "pip install 'nbcnn[cuda13]' (or 'nbcnn[cuda12]' for a driver older than 580)"
DRIVERS = "https://www.nvidia.com/drivers"
OLDEST = (12, 0)  # version of CUDA that a driver must know
# The first driver for each major version of CUDA.
FIRST_DRIVER = {12: "525", 13: "580"}
# Answers of the driver's.
NO_DEVICE, NOT_INITIALIZED = 100, 3
FORKED = (
    "CUDA does not work in a process that was forked from one that uses GPUs; with multiprocessing "
    "take the start method 'spawn' or 'forkserver'"
)


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


def refusal(driver: Any) -> str | None:
    """Why the driver does not start, in its own words; None where it does, be it without a GPU."""
    status = driver.cuInit(0)
    if status in (0, NO_DEVICE):
        return None
    said = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(said))
    text = (said.value or b"it gives no reason").decode(errors="replace")
    hint = f"; {FORKED}" if status == NOT_INITIALIZED else ""
    return f"the NVIDIA driver does not start: {text} (error {status}){hint}"


def driver_version(driver: Any) -> tuple[int, int]:
    """The newest CUDA that the driver knows."""
    version = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def bindings_version() -> tuple[int, int] | None:
    """The version of CUDA whose libraries are installed beside numba-cuda; None without them."""
    try:
        major, minor = metadata.version("cuda-bindings").split(".")[:2]
    except metadata.PackageNotFoundError:
        return None
    return int(major), int(minor)


def missing() -> str | None:
    """Why CUDA cannot be used here and how to get it, or None where it can; cheap, and imports
    nothing.

    A simulated GPU is none: it exists for tests and has to be asked for by name.
    """
    driver = driver_library()
    if driver is None:
        return (
            "no NVIDIA driver was found on this machine; if it has an NVIDIA GPU, install "
            f"the driver from {DRIVERS}, then {EXTRA}"
        )
    refused = refusal(driver)
    if refused is not None:
        return refused
    if gpu_count(driver) == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = f" (CUDA_VISIBLE_DEVICES is {visible!r})" if visible is not None else ""
        return f"the NVIDIA driver is there but offers no GPU{hidden}; `nvidia-smi` should list one"
    if importlib.util.find_spec("numba_cuda") is None:
        return f"there is a GPU and a driver, but the package numba-cuda is not installed: {EXTRA}"
    libraries = bindings_version()
    if libraries is None:
        return f"numba-cuda is installed without CUDA's libraries (cuda-bindings): {EXTRA}"
    too_old = _too_old(driver_version(driver), libraries)
    if too_old is not None:
        return too_old
    if simulated():
        return "NUMBA_ENABLE_CUDASIM is set, so this process can reach a simulated GPU only"
    return None


def _too_old(driver: tuple[int, int], libraries: tuple[int, int]) -> str | None:
    """Machine code runs with any driver of its own major version of CUDA, or a later one."""
    needed = max(OLDEST[0], libraries[0])
    if driver[0] >= needed:
        return None
    first = FIRST_DRIVER.get(needed, "a newer one")
    advice = f"install driver {first} or later from {DRIVERS}"
    if driver >= OLDEST:
        advice += ", or pip install 'nbcnn[cuda12]'"
    return (
        "the NVIDIA driver is too old: it knows CUDA up to {}.{}, ".format(*driver)
        + "the libraries that are installed are CUDA {}.{}; ".format(*libraries)
        + advice
    )


def open_device(number: int = 0) -> Any:
    """GPU `number`. Raises `DeviceError`."""
    if simulated():
        from nbcnn.runtime.cuda_simulator import SimulatedDevice

        return SimulatedDevice(number)
    name, reason = f"cuda:{number}", missing()
    if reason is not None:
        raise DeviceError(f"device '{name}' cannot be used: {reason}")
    count = gpu_count(driver_library())
    if number >= count:
        raise DeviceError(
            f"device '{name}' does not exist: the last one here is 'cuda:{count - 1}'"
        )
    from nbcnn.kernels.cuda import compiling
    from nbcnn.runtime.cuda_device import CudaDevice
    from nbcnn.runtime.cuda_driver import CudaError, Driver

    try:
        compiling.versions()
        return CudaDevice(number, Driver(number))
    except compiling.CompilerMissing as error:
        reason = f"there is a GPU and a driver, but {error}: {EXTRA}"
    except CudaError as error:
        reason = str(error)
    raise DeviceError(f"device '{name}' cannot be used: {reason}")
