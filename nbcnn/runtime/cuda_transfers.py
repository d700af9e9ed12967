"""Batches into a GPU's memory while it computes, and results out of it.

A batch is gathered into pinned host memory, in the type that the user's array has where that is not
wider than what the step takes (images of uint8 are a quarter of float32), copied to the GPU on a
stream of its own, and converted there. There are two sets of buffers, so that the next batch
travels while the last one is worked on. Arrays that are on the GPU already are read there.
"""

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn.kernels.cuda import gather
from nbcnn.runtime.cuda_memory import DeviceArray
from nbcnn.runtime.cuda_program import rows
from nbcnn.runtime.transfers import Feed, Outlet

if TYPE_CHECKING:
    from nbcnn.runtime.cuda_device import CudaDevice

# Types of arrays that people train on, by the kind of what a step takes.
USUAL = {"f": ("uint8",), "i": ("uint8",)}


def host_array(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory at an address of the host's as an array."""
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = memoryview((ctypes.c_uint8 * nbytes).from_address(address))
    return np.frombuffer(raw, np.uint8).view(dtype).reshape(shape)


class SmallUploads:
    """Numbers that change from step to step, into the GPU's memory without waiting for it: through
    a ring of pinned slots. Half of it is written to when the copies of that half are done.
    """

    SLOTS, SLOT = 64, 256  # a count, bytes

    def __init__(self, device: "CudaDevice"):
        self._device, self._next = device, 0
        driver = device.driver
        self._address = driver.malloc_pinned(self.SLOTS * self.SLOT)  # for the process's life
        self._done = (driver.event(), driver.event())

    def fits(self, values: np.ndarray) -> bool:
        return values.nbytes <= self.SLOT

    def send(self, target: DeviceArray, values: np.ndarray) -> None:
        driver, stream = self._device.driver, self._device.stream
        half, place = divmod(self._next, self.SLOTS // 2)
        if place == 0:
            driver.finish(self._done[half])
        slot = self._address + self._next * self.SLOT
        ctypes.memmove(slot, values.ctypes.data, values.nbytes)
        driver.upload(target.address, slot, values.nbytes, stream)
        if place == self.SLOTS // 2 - 1:
            driver.record(self._done[half], stream)
        self._next = (self._next + 1) % self.SLOTS


class Staging:
    """One batch on its way, in the type `dtype`: pinned host memory and a buffer on the GPU."""

    def __init__(self, device: "CudaDevice", target: DeviceArray, dtype: np.dtype):
        self._device, self._target = device, target
        self._events: tuple = ()
        nbytes = target.size * dtype.itemsize
        address, self._owner = device.pinned(nbytes)
        self.host = host_array(address, target.shape, dtype)
        self._buffer = device.view(device.empty(nbytes), 0, target.shape, dtype.name)
        self._uploaded, self._used = self._events = device.driver.event(), device.driver.event()
        calls = [] if dtype == target.dtype else gather.convert(device.caps, self._buffer, target)
        self._rows = rows(device.functions, calls)

    def wait(self) -> None:
        """Until `host` may be written to."""
        self._device.driver.finish(self._uploaded)

    def send(self) -> None:
        device, driver = self._device, self._device.driver
        driver.wait(device.copies, self._used)
        driver.upload(self._buffer.address, self.host.ctypes.data, self.host.nbytes, device.copies)
        driver.record(self._uploaded, device.copies)
        driver.wait(device.stream, self._uploaded)
        for row in self._rows:
            row.launch(driver, device.stream)
        if not self._rows:
            device.copy(self._target, self._buffer)
        driver.record(self._used, device.stream)

    def __del__(self) -> None:
        for event in self._events:
            self._device.discard("free_event", event)


class Moving:
    """A launch that reads rows of an array of the user's on the GPU; where it reads is set before
    each run.
    """

    def __init__(self, device: "CudaDevice", source: DeviceArray, target: DeviceArray, order: Any):
        self._device, self._order = device, order
        rows_of = source[: len(target)]
        if order is None:
            (call,) = gather.convert(device.caps, rows_of, target)
            self._at = 1  # after the spec's one field
        else:
            (call,) = gather.gather(device.caps, order[: len(target)], source, target)
            self._at = 2
        (self._row,) = rows(device.functions, [call])
        self._start = int(self._row.packed.words[self._at])
        stepped = rows_of if order is None else order
        self._step = stepped.nbytes // len(stepped)

    def launch(self, start: int) -> None:
        self._row.packed.words[self._at] = self._start + start * self._step
        self._row.launch(self._device.driver, self._device.stream)


class CudaFeed(Feed):
    """Fills one input of a program."""

    _device: "CudaDevice"
    _target: DeviceArray

    def __init__(self, device: "CudaDevice", target: DeviceArray):
        super().__init__(device, target)
        self._stagings: dict[np.dtype, tuple[Staging, Staging]] = {}
        self._turn = 0
        self._source: Any = None
        self._order: Any = None
        self._moving: Moving | None = None
        self._borrowed: DeviceArray | None = None

    def load(self, source: Any, order: np.ndarray | None, start: int) -> None:
        if not self._target.size:
            return
        with self._device.guard():
            if isinstance(source, np.ndarray):
                self._from_host(source, order, start)
            else:
                self._on_the_gpu(source, order, start)

    def release(self) -> None:
        self._source = self._order = self._moving = self._borrowed = None

    def warm(self) -> None:
        with self._device.guard():
            for call in usual_conversions(self._device.caps, self._target):
                self._device.functions.of([call])

    def _from_host(self, source: np.ndarray, order: np.ndarray | None, start: int) -> None:
        count = len(self._target)
        staging = self._staging_for(source.dtype)
        staging.wait()
        host = staging.host.reshape(count, *source.shape[1:])
        picked: Any = slice(start, start + count)
        if order is not None:
            picked = order[start : start + count]
        if order is not None and host.dtype == source.dtype:
            np.take(source, picked, axis=0, out=host, mode="clip")
        else:
            np.copyto(host, source[picked], casting="unsafe")
        staging.send()

    def _staging_for(self, dtype: np.dtype) -> Staging:
        """Buffers for arrays of this type; the two take turns."""
        as_it_is = dtype.isnative and dtype.itemsize <= self._target.dtype.itemsize
        kind = dtype if as_it_is else self._target.dtype
        if kind not in self._stagings:
            first, second = (Staging(self._device, self._target, kind) for _ in range(2))
            self._stagings[kind] = (first, second)
        self._turn = 1 - self._turn
        return self._stagings[kind][self._turn]

    def _on_the_gpu(self, source: Any, order: np.ndarray | None, start: int) -> None:
        if source is not self._source or order is not self._order:
            self.release()
            array = self._borrowed = self._device.borrow(source)
            if order is not None or array.dtype != self._target.dtype:
                numbers = None if order is None else self._numbers(order)
                self._moving = Moving(self._device, array, self._target, numbers)
            self._source, self._order = source, order
        assert self._borrowed is not None
        if self._moving is not None:
            self._moving.launch(start)
        else:
            self._device.copy(self._target, self._borrowed[start : start + len(self._target)])
        self._device.hold_back(self._borrowed)

    def _numbers(self, order: np.ndarray) -> DeviceArray:
        """Numbers of rows, on the GPU."""
        device = self._device
        found = device.view(device.empty(8 * len(order)), 0, order.shape, "int64")
        device.upload(found, order)
        return found


def usual_conversions(caps: Any, target: DeviceArray) -> list[Any]:
    """The launches that convert batches of usual types."""
    kinds = [k for k in USUAL.get(target.dtype.kind, ()) if target.dtype != k and target.size]
    calls = []
    for kind in kinds:
        calls += gather.convert(caps, DeviceArray(0, target.shape, kind), target)
    return calls


class CudaOutlet(Outlet):
    """Brings one result to the host, or to an array on this GPU."""

    def collect(self) -> None:
        target = self._target
        as_it_is = isinstance(target, np.ndarray) and target.flags.c_contiguous
        if as_it_is and target.dtype == self._source.dtype:
            self._device.download_into(target, self._source)
        else:
            super().collect()
