"""What the machine can do at most, measured with kernels of our own."""

import time
from typing import Any

from nbcnn.kernels.cpu import peak


def best_seconds(run: Any, runs: int = 25) -> float:
    """Of the fastest of `runs` runs, after one to warm up."""
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def fma_program(device: Any, dtype: str = "float32") -> tuple[Any, int]:
    """(program, its FLOP): fused multiply-adds, two FLOP each, on all threads of the device."""
    call, flops = peak.fma_call(device.caps, dtype)
    return device.program([call]), flops


def fma_peak(device: Any, dtype: str = "float32", runs: int = 25) -> float:
    """FLOP/s of fused multiply-adds (two each) on all threads of the device."""
    program, flops = fma_program(device, dtype)
    return flops / best_seconds(program.run, runs)


def copy_bandwidth(device: Any, megabytes: int = 256) -> float:
    """Bytes read plus bytes written per second, copying on all threads."""
    call, nbytes = peak.copy_call(megabytes)
    return nbytes / best_seconds(device.program([call]).run, runs=3)


def read_bandwidth(device: Any, megabytes: int = 256) -> float:
    """Bytes read per second from memory, on all threads."""
    call, nbytes = peak.read_call(megabytes, device.caps)
    return nbytes / best_seconds(device.program([call]).run, runs=5)
