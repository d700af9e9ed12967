"""A stand-in for NVIDIA's driver, with host memory in the place of a GPU's.

Streams are as lazy as they may be: what is put into one is done when somebody waits for it, and not
before. So copies that nobody waits for come too late, and memory that is written to before its copy
is done shows. With `eager_copies` the stream of copies is as early as it may be instead.

It refuses what a real driver may refuse or do wrong: calls in a thread that has another context or
none, all but launches where a graph is captured, grids and blocks beyond the limits, and freeing
memory that unfinished work may use (of `cuMemFree` its documentation says that it "may" wait).
"""

import ctypes
import threading
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


class Record:
    """An event as it was recorded once."""

    def __init__(self, stream: Stream):
        self.stream, self.happened = stream, False

    def happen(self) -> None:
        self.happened = True

    def finish(self) -> None:
        while not self.happened:
            self.stream.pending.pop(0)()


class Event:
    def __init__(self) -> None:
        self.latest: Record | None = None


# The limits of every GPU since Turing.
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS = (1024, 1024, 64)

# The context of each thread, by its number: the driver object that was entered last.
_current: dict[int, "Double"] = {}


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
        number: int = 0,
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
        self.foreign: dict[int, Stream] = {}
        self.events: set[Event] = set()
        self.number = number
        self.elsewhere: dict[int, int] = {}  # the GPU of memory that is not this one's

    def get(self, wanted: Sequence[Wanted]) -> Found:
        """In the place of `cubins.get`."""
        first = len(self._kernels)
        self._kernels += wanted
        codes = [Code(f"kernel{first + i}", b"cubin") for i in range(len(wanted))]
        return Found(codes, len(wanted))

    def _call(self, *entry: Any) -> None:
        self.log.append(entry)
        self._check_context()
        self.fail(entry[0])

    def _check_context(self) -> None:
        assert _current.get(threading.get_ident()) is self, "this thread has not entered the GPU"

    def _check_no_capture(self) -> None:
        """What a stream takes while it is captured would become part of the graph, or end it."""
        if any(s.captured is not None for s in self.streams):
            raise CudaError("capture", "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted")

    def calls(self, *names: str) -> list[tuple]:
        return [entry for entry in self.log if entry[0] in names]

    def enter(self) -> None:
        self.fail("enter")
        _current[threading.get_ident()] = self

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
        for sizes, most in ((grid, MOST_BLOCKS), (block, MOST_THREADS)):
            assert all(1 <= size <= limit for size, limit in zip(sizes, most, strict=True)), sizes
        assert np.prod(block) <= 1024, block
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
        self._check_idle()
        del self.blocks[address]

    def malloc_pinned(self, nbytes: int) -> int:
        self._call("malloc_pinned", nbytes)
        block = np.zeros(nbytes, np.uint8)
        self.pinned[block.ctypes.data] = block
        return block.ctypes.data

    def free_pinned(self, address: int) -> None:
        self._call("free_pinned")
        self._check_idle()
        del self.pinned[address]

    def _check_idle(self) -> None:
        self._check_no_capture()
        assert not any(s.pending for s in self.streams), "freed while work may use it"

    def device_of(self, address: int) -> int:
        self._call("device_of")
        return self.elsewhere.get(address, self.number)

    def _is_pinned(self, address: int) -> bool:
        return any(start <= address < start + b.nbytes for start, b in self.pinned.items())

    def _check(self, address: int, nbytes: int) -> None:
        """That all of it is in one block of the GPU's memory."""
        ends = [(b.ctypes.data, b.ctypes.data + b.nbytes) for b in self.blocks.values()]
        assert any(start <= address and address + nbytes <= end for start, end in ends)

    def upload(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        """Memory that is not pinned is read before this returns, pinned memory any time later."""
        self._call("upload", nbytes, stream.name)
        self._check_no_capture()
        self._check(target, nbytes)
        if self._is_pinned(source):
            stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)
        else:
            data = ctypes.string_at(source, nbytes)
            stream.put(lambda: ctypes.memmove(target, data, nbytes) and None)

    def download(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        self._call("download", nbytes)
        self._check_no_capture()
        self._check(source, nbytes)
        stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)

    def copy(self, target: int, source: int, nbytes: int, stream: Stream) -> None:
        self._call("copy", nbytes)
        self._check_no_capture()
        self._check(source, nbytes)
        self._check(target, nbytes)
        stream.put(lambda: ctypes.memmove(target, source, nbytes) and None)

    def stream(self) -> Stream:
        number = len(self.streams)
        self.streams.append(Stream(("compute", "copies")[number], self._eager[number]))
        return self.streams[-1]

    def foreign_stream(self, number: int) -> Stream:
        assert number != 0, "not to be used: it may mean two streams"
        return self.foreign.setdefault(number, Stream(f"foreign {number}", False))

    def synchronize(self, stream: Stream) -> None:
        self._call("synchronize", stream.name)
        self._check_no_capture()
        stream.drain()

    def event(self) -> Event:
        self._check_context()
        event = Event()
        self.events.add(event)
        return event

    def free_event(self, event: Event) -> None:
        self._call("free_event")
        self.events.remove(event)

    def record(self, event: Event, stream: Stream) -> None:
        self._call("record", stream.name)
        self._check_no_capture()
        event.latest = Record(stream)
        stream.put(event.latest.happen)

    def wait(self, stream: Stream, event: Event) -> None:
        """For what was recorded before this call."""
        self._call("wait", stream.name)
        self._check_no_capture()
        if event.latest is not None:
            stream.put(event.latest.finish)

    def finish(self, event: Event) -> None:
        self._call("finish")
        self._check_no_capture()
        if event.latest is not None:
            event.latest.finish()

    def begin_capture(self, stream: Stream) -> None:
        self._call("begin_capture")
        self._check_no_capture()
        stream.captured = []

    def end_capture(self, stream: Stream) -> list[Callable[[], None]]:
        if stream.captured is None:
            raise CudaError("cuStreamEndCapture", "CUDA_ERROR_ILLEGAL_STATE")
        captured, stream.captured = stream.captured, None
        self._call("end_capture")
        return captured

    def replay(self, graph: list[Callable[[], None]], stream: Stream) -> None:
        self._call("replay", len(graph))
        self._check_no_capture()
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


def device(driver: Double) -> CudaDevice:
    return CudaDevice(driver.number, driver, driver.get)
