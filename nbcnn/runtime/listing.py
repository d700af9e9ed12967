"""Which devices this machine offers."""

import ctypes
import os
import platform
from pathlib import Path
from typing import Any

from nbcnn.runtime import cuda

# Of the driver's attributes: the two numbers of the compute capability.
MAJOR, MINOR = 75, 76


class DeviceInfo(str):
    """A device's name, as `set_device` takes it, with what is known about it.

    hardware : the processor's or GPU's name.
    memory_bytes : all its memory, None where that is not known.
    compute_capability : of a GPU, as (9, 0); None of a CPU.
    """

    hardware: str
    memory_bytes: int | None
    compute_capability: tuple[int, int] | None

    def __new__(
        cls,
        name: str,
        hardware: str,
        memory_bytes: int | None = None,
        compute_capability: tuple[int, int] | None = None,
    ) -> "DeviceInfo":
        found = super().__new__(cls, name)
        found.hardware, found.memory_bytes = hardware, memory_bytes
        found.compute_capability = compute_capability
        return found

    @property
    def name(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        parts = [f"{str(self)!r}: {self.hardware}"]
        if self.memory_bytes is not None:
            parts.append(f"{self.memory_bytes / 2**30:.1f} GiB")
        if self.compute_capability is not None:
            parts.append("compute capability {}.{}".format(*self.compute_capability))
        return f"<{', '.join(parts)}>"


def devices() -> list[DeviceInfo]:
    """The devices that `set_device` takes here: the CPU, then the GPUs that can be used.

    Each is its name, a string, and has `hardware`, `memory_bytes` and `compute_capability`.
    """
    found = [DeviceInfo("cpu", _processor(), _host_memory())]
    if cuda.missing() is None:
        driver = cuda.driver_library()
        found += [_gpu(driver, number) for number in range(cuda.gpu_count(driver))]
    return found


def _gpu(driver: Any, number: int) -> DeviceInfo:
    handle, memory = ctypes.c_int(0), ctypes.c_size_t(0)
    text = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(handle), number)
    driver.cuDeviceGetName(text, len(text), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    numbers = []
    for attribute in (MAJOR, MINOR):
        value = ctypes.c_int(0)
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        numbers.append(value.value)
    name = text.value.decode(errors="replace")
    return DeviceInfo(f"cuda:{number}", name, memory.value, (numbers[0], numbers[1]))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
