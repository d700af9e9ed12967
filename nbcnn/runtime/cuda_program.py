"""Programs of kernel launches: eager at first, one graph from the second run on.

A launch is one call of the driver, with arguments packed when the program is made. That costs the
host a few microseconds; a training step has a hundred of them or more. So the second run's launches
are written down as a graph, and each run from then on is one call. Nothing in a graph changes from
run to run: addresses are fixed, and what does change (learning rate, step, seed) is in the GPU's
memory, uploaded in front of the run.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from nbcnn import config
from nbcnn.kernels.cuda import cubins, packing
from nbcnn.kernels.cuda.call import Launch
from nbcnn.kernels.cuda.compiling import Architecture
from nbcnn.runtime.cuda_driver import CudaError

if TYPE_CHECKING:
    from nbcnn.runtime.cuda_device import CudaDevice

STATIC_SHARED = 48 * 1024  # bytes; a kernel gets more only if that is said


def three(sizes: int | tuple[int, ...]) -> tuple[int, int, int]:
    """The sizes of a grid or block as the driver takes them."""
    x, y, z = (*((sizes,) if isinstance(sizes, int) else sizes), 1, 1)[:3]
    return x, y, z


def wanted(calls: Sequence[Launch], target: Architecture) -> list[cubins.Wanted]:
    """The kernels of launches."""
    return [cubins.Wanted(c.kernel, packing.kinds_of(c.args), target) for c in calls]


class Functions:
    """The kernels that one GPU has loaded."""

    def __init__(self, driver: Any, target: Architecture, get: Any = cubins.get):
        self._driver, self._target, self._get = driver, target, get
        self._loaded: dict[cubins.Wanted, Any] = {}
        self._shared: dict[cubins.Wanted, int] = {}

    def of(self, calls: Sequence[Launch]) -> list[Any]:
        """The driver's handles, in order; what is missing is loaded, or compiled first."""
        kernels = wanted(calls, self._target)
        new = [kernel for kernel in dict.fromkeys(kernels) if kernel not in self._loaded]
        for kernel, code in zip(new, self._get(new).codes):
            self._loaded[kernel] = self._driver.function(code.cubin, code.entry)
        for kernel, call in zip(kernels, calls):
            if call.shared > self._shared.get(kernel, STATIC_SHARED):
                self._driver.allow_shared(self._loaded[kernel], call.shared)
                self._shared[kernel] = call.shared
        return [self._loaded[kernel] for kernel in kernels]


class Row(NamedTuple):
    """One launch, as the driver takes it."""

    function: Any
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    packed: packing.Packed
    name: str

    def launch(self, driver: Any, stream: Any) -> None:
        parameters = self.packed.addresses.ctypes.data
        driver.launch(self.function, self.grid, self.block, self.shared, stream, parameters)


def rows(functions: Functions, calls: Sequence[Launch]) -> list[Row]:
    return [
        Row(
            function,
            three(call.grid),
            three(call.block),
            call.shared,
            packing.pack(call.args),
            getattr(call.kernel, "name", "kernel"),
        )
        for function, call in zip(functions.of(calls), calls)
    ]


class CudaProgram:
    """Launches in order; arguments are arrays and numbers, fixed when the program is made."""

    def __init__(self, device: "CudaDevice", calls: Sequence[Launch]):
        self._device, self.calls = device, tuple(calls)
        self.regions = len(self.calls)
        self._runs = 0
        self._graph: Any = None
        with device.guard():
            self.rows = rows(device.functions, self.calls)
        # The kernels, each once, in the order of their first launch.
        self.names = list(dict.fromkeys(row.name for row in self.rows))

    def run(self) -> None:
        if not self.rows:
            return
        device = self._device
        with device.guard():
            device.latest = self.names
            if config.settings().cuda_sync:
                self._one_by_one()
                return
            if self._graph is None and self._runs and len(self.rows) > 1 and device.graphs:
                self._graph = self._captured()
            if self._graph is not None:
                device.driver.replay(self._graph, device.stream)
            else:
                self._launch()
            self._runs += 1

    def _launch(self) -> None:
        driver, stream = self._device.driver, self._device.stream
        for row in self.rows:
            row.launch(driver, stream)

    def _one_by_one(self) -> None:
        """Waiting after every launch, so that an error belongs to the kernel that made it."""
        driver, stream = self._device.driver, self._device.stream
        try:
            driver.synchronize(stream)
        except CudaError as error:
            before = "while batches were copied and converted, before the first kernel of a step"
            raise self._device.failure(error, before) from error
        for row in self.rows:
            try:
                row.launch(driver, stream)
                driver.synchronize(stream)
            except CudaError as error:
                raise self._device.failure(error, f"in kernel {row.name}") from error

    def _captured(self) -> Any:
        """The launches as a graph; None, from now on, where the driver refuses that."""
        driver, stream = self._device.driver, self._device.stream
        try:
            try:
                driver.begin_capture(stream)
                self._launch()
            except BaseException:  # also of a user who interrupts
                self._give_up(driver, stream)
                raise
            return driver.end_capture(stream)
        except CudaError as error:
            if error.fatal:
                raise
            self._device.graphs = False
            warnings.warn(
                f"{self._device.name}: steps are launched kernel by kernel, because the driver "
                f"captures no graph: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None

    @staticmethod
    def _give_up(driver: Any, stream: Any) -> None:
        """End a capture that has failed: until then the stream takes no work."""
        with suppress(CudaError):
            driver.free_graph(driver.end_capture(stream))

    def __del__(self) -> None:
        if self._graph is not None:
            self._device.discard("free_graph", self._graph)
