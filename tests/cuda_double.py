"""A stand-in for NVIDIA's driver, with host memory in the place of a GPU's.

Streams are as lazy as they may be: what is put into one is done when somebody waits for it, and not
before. So copies that nobody waits for come too late, and memory that is written to before its copy
is done shows. With `eager_copies` the stream of copies is as early as it may be instead.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.kernels.cuda.compiling import Code
from nbcnn.kernels.cuda.cubins import Found, Wanted
from nbcnn.runtime.cuda_device import CudaDevice
from nbcnn.runtime.cuda_driver import CudaError, Properties

HOPPER = Properties("NVIDIA Double", 80 << 30, (9, 0), 132, 227 * 1024)


class Launched(NamedTuple):
    """A launch as the driver sees it; arguments unpacked by their types."""

    kernel: Any
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    arguments: tuple


class Stream:
    def __init__(self, name: str, eager: bool):
        self.name, self.eager = name, eager
        self.pending: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None

    def put(self, work: Callable[[], None]) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self.pending.append(work)
        if self.eager:
            self.drain()

    def drain(self) -> None:
        while self.pending:
            self.pending.pop(0)()


class Event:
    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.happened = True

    def finish(self) -> None:
        while not self.happened:
            assert self.stream is not None
            self.stream.pending.pop(0)()


class Double:
    """See `nbcnn.runtime.cuda_driver.Driver`.

    run: does a launch; by default nothing does. log: names of the calls made, with what tells them
    apart. fail: called before each call with its name; may raise `CudaError`.
    """

    def __init__(
        self,
        run: Callable[[Launched, "Double"], None] = lambda launched, driver: None,
        properties: Properties = HOPPER,
        free: int = 64 << 30,
        eager_copies: bool = False,
    ):
        self.run, self._properties, self._free = run, properties, free
        self.fail: Callable[[str], None] = lambda call: None
        self.log: list[tuple] = []
        self.launched: list[Launched] = []
        self.blocks: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.allowed: dict[Any, int] = {}
        self._kernels: list[Wanted] = []
        self._eager = [False, eager_copies]  # of the first two streams: computing, copying
        self.streams: list[Stream] = []

    def get(self, wanted: Sequence[Wanted]) -> Found:
        """In the place of `cubins.get`."""
        first = len(self._kernels)
        self._kernels += wanted
        codes = [Code(f"kernel{first + i}", b"cubin") for i in range(len(wanted))]
        return Found(codes, len(wanted))

    def _call(self, *entry: Any) -> None:
        self.log.append(entry)
        self.fail(entry[0])

    def calls(self, *names: str) -> list[tuple]:
        return [entry for entry in self.log if entry[0] in names]

    def enter(self) -> None:
        self.fail("enter")

    def properties(self) -> Properties:
        return self._properties

    def function(self, cubin: bytes, entry: str) -> Wanted:
        self._call("function", entry)
        assert cubin == b"cubin"
        return self._kernels[int(entry.removeprefix("kernel"))]

    def allow_shared(self, function: Wanted, nbytes: int) -> None:
        self._call("allow_shared", nbytes)
        self.allowed[function] = nbytes

    def launch(self, function, grid, block, shared, stream, parameters) -> None:
        self._call("launch", getattr(function.kernel, "name", ""))
        assert shared <= self.allowed.get(function, 48 * 1024), "more than may be had unasked"
        arguments = tuple(self._unpacked(function.kinds, parameters))
        launched = Launched(function.kernel, grid, block, shared, arguments)

        def work() -> None:
            self.launched.append(launched)
            self.run(launched, self)

        stream.put(work)

    def _unpacked(self, kinds: Sequence[Any], parameters: int):
        """Arguments from the addresses of their words, as a kernel reads them: now."""
        slots = iter(np.frombuffer((ctypes.c_uint64 * 4096).from_address(parameters), np.uint64))

        def value(kind: Any) -> Any:
            if isinstance(kind, tuple):
                cls, *fields = kind
                return cls(*map(value, fields))
            dtype = np.dtype("uint64" if kind.endswith("*") else kind)
            raw = ctypes.string_at(int(next(slots)), dtype.itemsize)
            found = np.frombuffer(raw, dtype)[0].item()
            return Pointer(found, kind.removesuffix("*")) if kind.endswith("*") else found

        return map(value, kinds)

    def free_bytes(self) -> int:
        return self._free - sum(block.nbytes for block in self.blocks.values())

    def malloc(self, nbytes: int) -> int:
        self._call("malloc", nbytes)
        if nbytes > self.free_bytes():
            raise CudaError("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY", "out of memory")
        block = np.full(nbytes + 256, 0xFF, np.uint8)  # NaN, where floats are read too early
        address = -(-block.ctypes.data // 256) * 256
        self.blocks[address] = block
        return address

    def free(self, address: int) -> None:
        self._call("free")
        assert not any(s.captured is not None for s in self.streams), "freed while capturing"
        del self.blocks[address]

    def malloc_pinned(self, nbytes: int) -> int:
        self._call("malloc_pinned", nbytes)
        block = np.zeros(nbytes, np.uint8)
        self.pinned[block.ctypes.data] = block
        return block.ctypes.data

    def free_pinned(self, address: int) -> None:
        del self.pinned[address]

    def _is_pinned(self, address: int) -> bool:
        return any(start <= address < start + b.nbytes for start, b in self.pinned.items())

    def _check(self, address: int, nbytes: int) -> None:
        """That all of it is in one block of the GPU's memory."""
        ends = [(b.ctypes.data, b.ctypes.data + b.nbytes) for b in self.blocks.values()]
        assert any(start <= address and address + nbytes <= end for start, end in ends)

    def upload(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        """Memory that is not pinned is read before this returns, pinned memory any time later."""
        self._call("upload", nbytes, stream.name)
        self._check(target, nbytes)
        if self._is_pinned(source):
            stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)
        else:
            data = ctypes.string_at(source, nbytes)
            stream.put(lambda: ctypes.memmove(target, data, nbytes) and None)

    def download(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        self._call("download", nbytes)
        self._check(source, nbytes)
        stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)

    def copy(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        self._call("copy", nbytes)
        self._check(source, nbytes)
        self._check(target, nbytes)
        stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)

    def stream(self) -> Stream:
        number = len(self.streams)
        self.streams.append(Stream(("compute", "copies")[number], self._eager[number]))
        return self.streams[-1]

    def foreign_stream(self, number: int) -> Any:
        return Stream(f"foreign {number}", False)

    def synchronize(self, stream: Stream) -> None:
        self._call("synchronize", stream.name)
        stream.drain()

    def event(self) -> Event:
        return Event()

    def record(self, event: Event, stream: Stream) -> None:
        self._call("record", stream.name)
        event.stream, event.happened = stream, False

        def happen() -> None:
            event.happened = True

        stream.put(happen)

    def wait(self, stream: Stream, event: Event) -> None:
        """For what was recorded before this call."""
        self._call("wait", stream.name)
        if event.happened:
            return
        seen = Event()
        assert event.stream is not None
        seen.stream, seen.happened = event.stream, False
        at = max(i for i, work in enumerate(event.stream.pending) if work.__name__ == "happen")

        def happen() -> None:
            seen.happened = True

        event.stream.pending.insert(at + 1, happen)
        stream.put(seen.finish)

    def finish(self, event: Event) -> None:
        self._call("finish")
        event.finish()

    def begin_capture(self, stream: Stream) -> None:
        self._call("begin_capture")
        stream.captured = []

    def end_capture(self, stream: Stream) -> list[Callable[[], None]]:
        captured, stream.captured = stream.captured, None
        self._call("end_capture")
        return captured

    def replay(self, graph: list[Callable[[], None]], stream: Stream) -> None:
        self._call("replay", len(graph))
        stream.put(lambda: [work() for work in graph] and None)

    def free_graph(self, graph: Any) -> None:
        self._call("free_graph")


class Pointer(NamedTuple):
    """What a kernel gets in the place of an array."""

    address: int
    dtype: str

    def array(self, driver: Double) -> np.ndarray:
        """All elements from here to the end of the memory block."""
        for block in driver.blocks.values():
            end = block.ctypes.data + block.nbytes
            if block.ctypes.data <= self.address < end:
                count = (end - self.address) // np.dtype(self.dtype).itemsize
                raw = block[self.address - block.ctypes.data :]
                return raw[: count * np.dtype(self.dtype).itemsize].view(self.dtype)
        return np.zeros(0, self.dtype)


def device(driver: Double, number: int = 0) -> CudaDevice:
    return CudaDevice(number, driver, driver.get)
