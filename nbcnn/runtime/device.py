"""Devices: what each must offer, how they are named, and which one is current.

A device is chosen by name at run time: 'cpu', 'cuda' (the first GPU), 'cuda:1', or 'auto' (the
first GPU if there is one that can be used, otherwise the CPU). `runtime.<kind>` is imported when a
device of that kind is asked for.
"""

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from nbcnn import config
from nbcnn.kernels.impl import Passes
from nbcnn.runtime.transfers import Feed, Outlet

EXPECTED = "'auto', 'cpu', 'cuda' or 'cuda:<number>'"


class DeviceError(RuntimeError):
    """A device that was asked for cannot be used; the message says what is missing, where to get
    it.
    """


class OutOfMemory(DeviceError):
    """A plan that does not fit: bytes `needed`, and bytes `free`; what they are for, `needs`."""

    def __init__(self, text: str, needed: int, free: int, needs: Any):
        super().__init__(text)
        self.needed, self.free, self.needs = needed, free, needs


class Program(Protocol):
    """A list of kernel calls, compiled and ready to run any number of times.

    regions: how often a run starts threads together, or a GPU's kernel.
    """

    regions: int

    def run(self) -> None:
        """Run all calls in order. On a GPU it returns before they are done."""


class Device(Protocol):
    """Where arrays live and kernels run.

    kind: names the module `runtime.<kind>` and the kernels' folder.
    name: what `get_device` takes.
    caps: what kernels may look at: threads and caches, or multiprocessors; `caps.simulated` on
    every kind.
    close_bytes: how much of what operations read and write lies close at hand for the next one; 0
    where that makes no difference. Plans may cut batches so that it is enough (`graph.stretches`).
    input_copies: how many times an input's size batches on their way to it need beside it.
    """

    kind: str
    name: str
    caps: Any
    close_bytes: int
    input_copies: int

    def impls(self, op: Any) -> tuple:
        """Implementations of an operation (`ops.op.Op`), special before general; empty where there
        is none.
        """

    def empty(self, nbytes: int) -> Any:
        """A buffer of uninitialised bytes, aligned for any data type and vector."""

    def view(self, buffer: Any, offset: int, shape: tuple[int, ...], dtype: str) -> Any:
        """Part of a buffer as a C-contiguous array, starting `offset` bytes into it."""

    def upload(self, target: Any, source: np.ndarray) -> None:
        """Copy a host array of the same shape into an array, converting its data type."""

    def free_bytes(self) -> int | None:
        """How much `empty` can still give; None where that is not known."""

    def download(self, source: Any) -> np.ndarray:
        """A copy of an array on the host, when all work before it is done."""

    def copy(self, target: Any, source: Any) -> None:
        """Copy an array of this device to another one of the same shape and type."""

    def synchronize(self) -> None:
        """Wait until all work is done."""

    def program(self, calls: Sequence, passes: Sequence[Passes] = ()) -> Program:
        """Make calls, as an implementation's `bind` returns them, ready to run. `passes`: which of
        them run more than once, in order; none where `close_bytes` is 0.
        """

    def feed(self, program: Any, target: Any, movable: bool) -> Feed:
        """What fills an input of a program with batches. `movable`: nothing but the program's calls
        knows where the input is, so that the device may put it elsewhere.
        """

    def outlet(self, program: Any, source: Any, movable: bool) -> Outlet:
        """What brings a result of a program to the host; `movable` as for `feed`."""


_chosen: ContextVar[str | None] = ContextVar("nbcnn_device", default=None)
_opened: dict[tuple, Device] = {}
_announced: set[str] = set()


def parse(name: Any) -> tuple[str, int]:
    """(kind, number) of a device's name; kind may be 'auto'. Raises ValueError for anything
    else.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)(?::(\d+))?", name) if isinstance(name, str) else None
    if match is None or (match[2] and match[1] != "cuda"):
        raise ValueError(f"device: expected {EXPECTED}, got {name!r}")
    return match[1], int(match[2] or 0)


def get_device(name: "str | Device | None" = None) -> Device:
    """The device of this name; the current one for None. Each is opened once.

    Raises ValueError for an unknown name, `DeviceError` for a device that this machine does not
    offer.
    """
    if name is None:
        return current_device()
    if not isinstance(name, str) and hasattr(name, "caps"):
        return name
    kind, number = parse(name)
    if kind == "auto":
        return _automatic(announce=True)
    # A CPU device belongs to a number of threads, which the user may change.
    key = (kind, config.get_num_threads() if kind == "cpu" else number)
    if key not in _opened:
        _opened[key] = importlib.import_module(f"nbcnn.runtime.{kind}").open_device(key[1])
    return _opened[key]


def _automatic(announce: bool) -> Device:
    """The first GPU, or the CPU where CUDA cannot be used; `announce` says so on stderr, once a
    process.
    """
    missing = importlib.import_module("nbcnn.runtime.cuda").missing()
    if missing is None:
        try:
            return get_device("cuda")
        except DeviceError as error:
            missing = str(error)
    if announce and "auto" not in _announced:
        _announced.add("auto")
        sys.stderr.write(f"nbcnn: device 'auto' is the CPU here: {missing}\n")
    return get_device("cpu")


def current_device() -> Device:
    """The device of the innermost `with device(...)`, else of `set_device`, else of NBCNN_DEVICE,
    else the CPU.
    """
    return get_device(_chosen.get() or config.settings().device or "cpu")


def set_device(name: str) -> None:
    """Choose the device of the whole program: 'auto', 'cpu', 'cuda' or 'cuda:1'.

    Raises as `get_device`, and then changes nothing.

    Parameters
    ----------
    name : of the device.
    """
    get_device(name)
    config.choose_device(name)


@contextmanager
def device(name: "str | Device") -> Iterator[Device]:
    """Inside `with device("cpu"):` this is the current device of this thread. Raises as
    `get_device`.

    Parameters
    ----------
    name : "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.
    """
    found = get_device(name)
    token = _chosen.set(found.name)
    try:
        yield found
    finally:
        _chosen.reset(token)
