"""How long work takes on a device: the host's clock for a CPU (and a simulated GPU), the GPU's own
events for a GPU.

Events are recorded in the stream of the device's kernels, so what the host does meanwhile is not
counted, as long as it stays ahead: short kernels are therefore timed many in a row.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

MOST = 2000  # runs in a row


class HostClock:
    """Seconds as the host sees them, until the device has nothing left to do."""

    def __init__(self, device: Any):
        self._device = device

    def laps(self, runs: Sequence[Callable[[], Any]]) -> list[float]:
        """Seconds of each of several calls, one after the other."""
        found = []
        self._device.synchronize()
        for run in runs:
            start = time.perf_counter()
            run()
            self._device.synchronize()
            found.append(time.perf_counter() - start)
        return found


class EventClock:
    """Seconds between events on a GPU."""

    def __init__(self, device: Any):
        from cuda.bindings import driver

        self._driver, self._device = driver, device
        self._events: list[Any] = []

    def _call(self, function: Any, *arguments: Any) -> Any:
        status, *results = function(*arguments)
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"{function.__name__}: {status.name}")
        return results[0] if results else None

    def _record(self, index: int) -> None:
        while len(self._events) <= index:
            self._events.append(self._call(self._driver.cuEventCreate, 0))
        self._call(self._driver.cuEventRecord, self._events[index], self._device.stream)

    def laps(self, runs: Sequence[Callable[[], Any]]) -> list[float]:
        """Seconds of each of several calls, one after the other."""
        self._device.synchronize()
        self._record(0)
        for index, run in enumerate(runs, 1):
            run()
            self._record(index)
        self._device.synchronize()
        pairs = zip(self._events, self._events[1 : len(runs) + 1])
        return [1e-3 * self._call(self._driver.cuEventElapsedTime, *pair) for pair in pairs]


def clock_of(device: Any) -> HostClock | EventClock:
    real_gpu = device.kind == "cuda" and not device.caps.simulated
    return EventClock(device) if real_gpu else HostClock(device)


def median_laps(clock: Any, runs: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Medians of the seconds of each call, over repetitions of all of them in order: three at least
    after three to warm up, or one after one where `seconds` is 0.
    """
    least = 3 if seconds else 1
    for _ in range(least):  # the first may load or compile, the second becomes a graph
        clock.laps(runs)
    return _medians(clock, runs, seconds, least)


def _medians(clock: Any, runs: Sequence, seconds: float, least: int) -> list[float]:
    found, end = [], time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < end:
        found.append(clock.laps(runs))
    return [statistics.median(times) for times in zip(*found)]


def median_seconds(clock: Any, run: Callable[[], Any], seconds: float) -> float:
    """Median of the seconds of one call, of bursts of many where it is short."""
    least = 3 if seconds else 1
    for _ in range(least):
        (one,) = clock.laps([run])
    count = max(1, min(MOST, int(seconds / 5 / max(one, 1e-9))))

    def burst() -> None:
        for _ in range(count):
            run()

    return _medians(clock, [burst], seconds, least)[0] / count
