"""Packing buffers with known lifetimes into one arena, and arenas that plans share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

ALIGNMENT = 256  # of what lies in an arena


class Lifetime(NamedTuple):
    """A buffer of `nbytes`, used from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int


def pack(lifetimes: Sequence[Lifetime], alignment: int) -> tuple[list[int], int]:
    """Offsets for each buffer and the arena's size, such that buffers that live together never
    overlap.

    Largest first, each at the lowest offset that is free during its life: the usual greedy, within
    a few per cent of the peak on chains and residual nets.
    """
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []  # offset, end, lifetime; sorted by offset
    total = 0
    for index in sorted(range(len(lifetimes)), key=lambda i: (-lifetimes[i].nbytes, i)):
        life = lifetimes[index]
        size = -(-life.nbytes // alignment) * alignment
        offset = 0
        for start, end, other in placed:
            if other.last < life.first or life.last < other.first:
                continue
            if start - offset >= size:
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append((offset, offset + size, life))
        placed.sort(key=lambda item: item[0])
        total = max(total, offset + size)
    return offsets, total


class Arena:
    """Memory on one device for plans that never run at the same time: they share the largest."""

    def __init__(self, device: Any):
        self._device, self._buffer, self._nbytes = device, None, -1

    def growth(self, nbytes: int) -> int:
        """Bytes that `take` would have to allocate."""
        return nbytes if self._nbytes < nbytes else 0

    def take(self, nbytes: int) -> Any:
        """A buffer of at least `nbytes`: the largest so far if it suffices, else a new one. Plans
        that were made before keep theirs.
        """
        if self._nbytes < nbytes:
            self._buffer, self._nbytes = self._device.empty(nbytes), nbytes
        return self._buffer
