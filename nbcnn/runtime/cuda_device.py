"""A real GPU: memory, streams, and what becomes of errors.

Kernels run on one stream, in order, without waiting for the host; batches are copied on another
one while they do (`cuda_transfers`). The host waits only where it asks for numbers.

The streams are those of all models on the GPU, and of all threads: these take turns (`guard`).

State: checked with a stand-in for the driver, but not yet run on a GPU.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import finalize

import numpy as np

from nbcnn import config
from nbcnn.kernels.cuda import cubins
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.compiling import architecture
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.cuda import FORKED
from nbcnn.runtime.cuda_driver import CudaError
from nbcnn.runtime.cuda_memory import DeviceArray, Loan, borrowed
from nbcnn.runtime.cuda_program import CudaProgram, Functions
from nbcnn.runtime.cuda_transfers import CudaFeed, CudaOutlet, SmallUploads
from nbcnn.runtime.device import DeviceError

OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
OLDEST = (7, 5)  # compute capability


class Block:
    """Allocated memory, given back when nothing refers to it."""


class CudaDevice:
    """See `runtime.device.Device`. `driver`: a `cuda_driver.Driver`; `get`: as `cubins.get`."""

    kind = "cuda"
    close_bytes = 0
    input_copies = 2

    def __init__(self, number: int, driver: Any, get: Any = cubins.get):
        self.name, self.number, self.driver = f"cuda:{number}", number, driver
        # Kernels of the program that was started last; of the program nothing, which has memory.
        self.latest: list[str] = []
        self.graphs = True  # until the driver refuses one
        self._lost: str | None = None
        self._process, self._turn = os.getpid(), threading.RLock()
        self._discarded: deque[tuple[str, Any]] = deque()
        with self.guard():
            self.properties = driver.properties()
            if self.properties.capability < OLDEST:
                raise DeviceError(
                    "{} has compute capability {}.{}; kernels are made from {}.{} on".format(
                        self.name, *self.properties.capability, *OLDEST
                    )
                )
            self.stream, self.copies = driver.stream(), driver.stream()
            self._between = driver.event()
            self._small = SmallUploads(self)
        _, _, capability, multiprocessors, shared = self.properties
        self.functions = Functions(driver, architecture(capability), get)
        self._caps = Caps(multiprocessors, capability, shared=shared)

    @property
    def caps(self) -> Caps:
        return self._caps._replace(tf32=config.matmul_precision() == "high")

    def impls(self, op: Any) -> tuple:
        from nbcnn.kernels.cuda import lists

        return lists.impls(op)

    # -- memory ---------------------------------------------------------------------------------

    def empty(self, nbytes: int) -> DeviceArray:
        """Uninitialised bytes; CUDA aligns them to 256."""
        with self.guard(f"{nbytes:,} bytes were asked for"):
            self._free_discarded()
            address = self.driver.malloc(max(nbytes, 1))
        block = Block()
        finalize(block, self.discard, "free", address).atexit = False
        return DeviceArray(address, (nbytes,), np.uint8, block)

    def pinned(self, nbytes: int) -> tuple[int, Block]:
        """Host memory for copies that the host does not wait for: its address, and its owner."""
        with self.guard(f"{nbytes:,} bytes of pinned host memory were asked for"):
            self._free_discarded()
            address = self.driver.malloc_pinned(max(nbytes, 1))
        block = Block()
        finalize(block, self.discard, "free_pinned", address).atexit = False
        return address, block

    def discard(self, how: str, what: Any) -> None:
        """To be given back at the next opportunity. Garbage is collected at any moment, also while
        a graph is captured, when the driver takes nothing back.
        """
        self._discarded.append((how, what))

    def _free_discarded(self) -> None:
        """Work that is on its way may still use it; the driver need not wait for that."""
        if self._discarded:
            self.driver.synchronize(self.copies)
            self.driver.synchronize(self.stream)
        while self._discarded:
            how, what = self._discarded.popleft()
            getattr(self.driver, how)(what)

    def free_bytes(self) -> int:
        """What can still be allocated."""
        with self.guard():
            self._free_discarded()
            return self.driver.free_bytes()

    def view(
        self, buffer: DeviceArray, offset: int, shape: tuple[int, ...], dtype: str
    ) -> DeviceArray:
        return DeviceArray(buffer.address + offset, shape, dtype, buffer.owner)

    def upload(self, target: DeviceArray, source: np.ndarray) -> None:
        values = np.ascontiguousarray(source, dtype=target.dtype)
        if not values.nbytes:
            return
        with self.guard():
            if self._small.fits(values):
                self._small.send(target, values)
            else:
                self.driver.upload(target.address, values.ctypes.data, values.nbytes, self.stream)
                self.driver.synchronize(self.stream)  # until then the host's array must stay

    def download(self, source: DeviceArray) -> np.ndarray:
        target = np.empty(source.shape, source.dtype)
        self.download_into(target, source)
        return target

    def download_into(self, target: np.ndarray, source: DeviceArray) -> None:
        """Into a C-contiguous array of the same shape and type, when all work so far is done."""
        with self.guard():
            if target.nbytes:
                self.driver.download(target.ctypes.data, source.address, target.nbytes, self.stream)
            self.driver.synchronize(self.stream)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Between arrays on this GPU, of the same shape and type."""
        if source.nbytes:
            with self.guard():
                self.driver.copy(target.address, source.address, source.nbytes, self.stream)

    def synchronize(self) -> None:
        with self.guard():
            self.driver.synchronize(self.stream)
            self._free_discarded()

    def borrow(self, value: Any) -> DeviceArray:
        """Another library's array on this GPU, whose pending work this device's waits for."""
        array = borrowed(value)
        with self.guard():
            if array.size:
                self._check_place(array)
            if array is not value and array.owner.stream is not None:
                self.driver.record(self._between, self.driver.foreign_stream(array.owner.stream))
                self.driver.wait(self.stream, self._between)
        return array

    def _check_place(self, array: DeviceArray) -> None:
        """A kernel that reads another GPU's memory would end all work on this one."""
        try:
            place = self.driver.device_of(array.address)
        except CudaError as error:
            if error.fatal:
                raise
            raise ValueError(f"an array is in no GPU's memory: {error}") from error
        if place not in (self.number, -1, -2):  # no GPU: memory that moves by itself
            raise ValueError(
                f"an array is in the memory of cuda:{place}, and the model runs on {self.name}"
            )

    def hold_back(self, array: DeviceArray) -> None:
        """What the library of a borrowed array does from now on waits until this device has read
        the array: the next batch may be made in the same memory.
        """
        if isinstance(array.owner, Loan) and array.owner.stream is not None:
            with self.guard():
                self.driver.record(self._between, self.stream)
                self.driver.wait(self.driver.foreign_stream(array.owner.stream), self._between)

    # -- programs -------------------------------------------------------------------------------

    def program(self, calls: Sequence[Launch], passes: Sequence[Passes] = ()) -> CudaProgram:
        return CudaProgram(self, calls)

    def feed(self, program: CudaProgram, target: DeviceArray, movable: bool) -> CudaFeed:
        return CudaFeed(self, target)

    def outlet(self, program: CudaProgram, source: DeviceArray, movable: bool) -> CudaOutlet:
        return CudaOutlet(self, source)

    # -- errors ---------------------------------------------------------------------------------

    @contextmanager
    def guard(self, wish: str = "") -> Iterator[None]:
        """What is inside may call the driver, whose errors become `DeviceError`s. Other threads
        wait: what they put into a stream that is being captured would become part of the graph.
        """
        if self._process != os.getpid():  # where another thread may have the turn for ever
            raise DeviceError(f"{self.name}: {FORKED}")
        with self._turn:
            if self._lost is not None:
                raise DeviceError(self._lost)
            try:
                self.driver.enter()
                yield
            except CudaError as error:
                raise self.failure(error, wish) from error

    def failure(self, error: CudaError, where: str = "") -> DeviceError:
        """What to raise for an error of the driver's."""
        if error.name == OUT_OF_MEMORY:
            return DeviceError(
                f"{self.name} is out of memory{f': {where}' if where else ''}; smaller batches "
                "need less, and other programs may hold some (`nvidia-smi`)"
            )
        if not error.fatal:
            return DeviceError(f"{self.name}: {error}{f', {where}' if where else ''}")
        if not where and self.latest:
            where = (
                f"in one of the kernels {', '.join(self.latest)}; with NBCNN_CUDA_SYNC=1 in "
                "the environment the error names the one"
            )
        self._lost = (
            f"{self.name} has failed: {error}{f', {where}' if where else ''}. What was in its "
            "memory is lost, weights too; a new process can use it again, if it still works"
        )
        return DeviceError(self._lost)
