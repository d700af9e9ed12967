"""What the instructions of `ptx.py` do, in Python, for Numba's simulator: same names, same
arguments.

A thread of a block is a Python thread. Where the threads of a warp do something together they wait
for each other, and the last to come computes the results of all. A warp that does not come
together raises after a minute; so does an address outside of all arrays, or one that is not a
multiple of 16 where it must be. Copies are done at once: a missing wait is *not* found here.

Addresses of shared memory are `number of the array << 20 | offset`, those of global memory are
real.
"""

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

WARP = 32
PATIENCE = 60  # seconds
ARRAY_BITS = 20  # of an offset in shared memory
_lock = threading.Lock()


# -- memory


class Memory:
    """The arrays whose addresses were asked for in one block, as bytes."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.arrays: list[np.ndarray] = []
        self.keep: list[Any] = []

    def number(self, array: Any) -> int:
        start, nbytes = array.__array_interface__["data"][0], array.size * array.itemsize
        if start not in self.starts:
            self.arrays.append(as_bytes(start, nbytes))
            self.keep.append(array)
            self.starts.append(start)
        return self.starts.index(start)


def as_bytes(start: int, nbytes: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(start))


def memory(space: str) -> Memory:
    """Of the block that this thread belongs to."""
    manager = threading.current_thread()._manager  # type: ignore[attr-defined]
    return manager.__dict__.setdefault(f"{space}_memory", Memory())


def address(p):
    with _lock:
        known = memory("global")
        return known.starts[known.number(p)]


def shared_address(array):
    with _lock:
        return np.int32(memory("shared").number(array) << ARRAY_BITS)


def shared_bytes(at, nbytes: int) -> np.ndarray:
    number, offset = int(at) >> ARRAY_BITS, int(at) & ((1 << ARRAY_BITS) - 1)
    return part(memory("shared").arrays[number], offset, nbytes)


def global_bytes(at: int, nbytes: int) -> np.ndarray:
    known = memory("global")
    for start, array in zip(known.starts, known.arrays):
        if start <= at < start + array.size:
            aligned(at, 16)
            return part(array, at - start, nbytes)
    raise IndexError(f"address {at:#x} is in no array")


def part(array: np.ndarray, offset: int, nbytes: int) -> np.ndarray:
    aligned(offset, nbytes)
    if not 0 <= offset <= array.size - nbytes:
        raise IndexError(f"{nbytes} bytes at {offset} of {array.size}")
    return array[offset : offset + nbytes]


def aligned(at: int, nbytes: int) -> None:
    if at % nbytes:
        raise IndexError(f"address {at} is no multiple of {nbytes}")


def load4(p, i):
    aligned(p.__array_interface__["data"][0] + 4 * int(i), 16)
    return p[i], p[i + 1], p[i + 2], p[i + 3]


def store4(p, i, a, b, c, d):
    aligned(p.__array_interface__["data"][0] + 4 * int(i), 16)
    p[i], p[i + 1], p[i + 2], p[i + 3] = a, b, c, d


def store2(p, i, a, b):
    aligned(p.__array_interface__["data"][0] + 4 * int(i), 8)
    p[i], p[i + 1] = a, b


def shared_load(at):
    return shared_bytes(at, 4).view(np.float32)[0]


def shared_store(at, a):
    shared_bytes(at, 4).view(np.float32)[0] = a


def shared_store2(at, a, b):
    shared_bytes(at, 8).view(np.float32)[:] = a, b


def shared_load4(at):
    return tuple(shared_bytes(at, 16).view(np.float32))


def shared_store4(at, a, b, c, d):
    shared_bytes(at, 16).view(np.float32)[:] = a, b, c, d


def copy_async(shared, source, nbytes):
    target = shared_bytes(shared, 16)
    target[nbytes:] = 0
    if nbytes:
        target[:nbytes] = global_bytes(int(source), 16)[:nbytes]


def commit_async():
    pass


def wait_async():
    pass


def fence_async():
    pass


# -- threads of a warp


class Group:
    """Threads that do something together: `function` of what all lanes have brought gives what each
    takes away.
    """

    def __init__(self, lanes: int) -> None:
        self.brought: list[Any] = [None] * lanes
        self.results: list[Any] = []
        self.error: Exception | None = None
        self.barrier = threading.Barrier(lanes, self.compute)

    def compute(self) -> None:
        functions = {function for function, _ in self.brought}
        try:
            if len(functions) > 1:
                raise RuntimeError(f"lanes of a warp came to different places: {functions}")
            self.results = functions.pop()([values for _, values in self.brought])
        except Exception as error:
            self.error = error


def together(function: Callable, values: Any, lanes: int = WARP) -> Any:
    """This lane's result of what `lanes` threads do together. The next round cannot begin before
    all have taken their results of this one, so one barrier is enough.
    """
    thread: Any = threading.current_thread()
    number, lane = divmod(thread.thread_id, lanes)
    with _lock:
        groups = thread._manager.__dict__.setdefault("groups", {})
        if (lanes, number) not in groups:
            threads = int(np.prod(thread._manager._block_dim))
            groups[lanes, number] = Group(min(lanes, threads - number * lanes))
        group = groups[lanes, number]
    group.brought[lane] = function, values
    group.barrier.wait(PATIENCE)
    if group.error is not None:
        raise group.error
    return group.results[lane]


@cache
def _xor(mask: int) -> Callable:
    return lambda values: [values[lane ^ mask] for lane in range(len(values))]


@cache
def _down(delta: int) -> Callable:
    return lambda values: [
        values[lane + delta if lane + delta < WARP else lane] for lane in range(len(values))
    ]


def shuffle_xor(value, mask):
    """A lane that is not there, since the block is smaller than a warp, raises."""
    return together(_xor(int(mask)), value)


def shuffle_down(value, delta):
    return together(_down(int(delta)), value)


# -- matrices in a warp's registers: arrays [lane, register]


def words(registers: list) -> np.ndarray:
    """Registers of integers as bits, [lane, register]."""
    return np.array([[int(v) & 0xFFFFFFFF for v in lane] for lane in registers], np.uint32)


def by_lane(values: np.ndarray) -> list[tuple]:
    return [tuple(lane) for lane in values]


def _matrices(addresses: list) -> np.ndarray:
    """[matrix, row, 8 halves] at the addresses of their rows."""
    rows = [shared_bytes(at, 16).view(np.uint16) for at in addresses]
    return np.array(rows).reshape(4, 8, 8)


def _ldmatrix(addresses: list) -> list[tuple]:
    taken = _matrices(addresses).view(np.int32)  # [matrix, g, t]
    return by_lane(taken.reshape(4, WARP).T)


def _ldmatrix_trans(addresses: list) -> list[tuple]:
    turned = np.ascontiguousarray(_matrices(addresses).swapaxes(1, 2))
    return by_lane(turned.view(np.int32).reshape(4, WARP).T)


def ldmatrix(at):
    return together(_ldmatrix, at)


def ldmatrix_trans(at):
    return together(_ldmatrix_trans, at)


def tf32_value(bits: np.ndarray) -> np.ndarray:
    """What a tensor core sees of registers with one TF32 each: [..., 1]."""
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)[..., None]


def bf16_values(bits: np.ndarray) -> np.ndarray:
    """Of registers with two bfloat16 each, the lower half first: [..., 2]."""
    pair = np.stack([bits << np.uint32(16), bits & np.uint32(0xFFFF0000)], -1)
    return pair.view(np.float32)


def _mma(values: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """`values`: the numbers in registers of operands."""

    def multiply(registers: list) -> list[tuple]:
        sums = np.array([lane[:4] for lane in registers], np.float32)
        operands = values(words([lane[4:] for lane in registers]))
        operands = operands.astype(np.float64).reshape(8, 4, 6, -1)  # [g, t, register, part]
        # a: [column block, row block, g, t, part] -> rows, columns; b: [row block, t, part] x g
        a = operands[:, :, :4].transpose(2, 0, 1, 3)
        parts = a.shape[-1]
        a = a.reshape(2, 2, 8, 4 * parts).transpose(1, 2, 0, 3).reshape(16, -1)
        b = operands[:, :, 4:].transpose(2, 1, 3, 0).reshape(-1, 8)
        with np.errstate(all="ignore"):
            product = (a @ b).reshape(2, 8, 4, 2).transpose(1, 2, 0, 3).reshape(WARP, 4)
            return by_lane((sums + product).astype(np.float32))

    return multiply


_mma_tf32, _mma_bf16 = _mma(tf32_value), _mma(bf16_values)


def mma_tf32(*registers):
    return together(_mma_tf32, registers)


def mma_bf16(*registers):
    return together(_mma_bf16, registers)


# -- bits


def bits(value):
    return np.float32(value).view(np.int32)


def from_bits(word):
    return np.int32(word).view(np.float32)


def round_tf32(value):
    word = int(np.float32(value).view(np.uint32))
    if word & 0x7F800000 != 0x7F800000:
        word = (word + 0x1000) & 0xFFFFE000
    return np.uint32(word).view(np.int32)


def round_tf32_bits(word):
    up = (int(word) + 0x1000 + 2**31) % 2**32 - 2**31
    return np.int32(max(up, int(word)))


def _upper(value) -> int:
    """The nearest bfloat16."""
    word = int(np.float32(value).view(np.uint32))
    if word & 0x7FFFFFFF > 0x7F800000:
        return 0x7FFF
    return (word + 0x7FFF + (word >> 16 & 1)) >> 16


def pack_bf16(low, high):
    return np.uint32(_upper(low) | _upper(high) << 16).view(np.int32)
