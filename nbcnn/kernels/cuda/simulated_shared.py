"""Shared arrays of Numba's simulator, made once for a block whichever thread comes first."""

import threading


class Allocations(dict):
    """A block's shared arrays by the place that asks for them. The simulator asks for one, makes it
    where there is none and puts it here; two threads at once would get two. So a thread that is
    told None has the lock until it has put its array.
    """

    def __init__(self) -> None:
        super().__init__()
        self._making = threading.Lock()

    def get(self, place, default=None):
        self._making.acquire()
        if place in self:
            self._making.release()
            return self[place]
        return default

    def __setitem__(self, place, array):
        super().__setitem__(place, array)
        self._making.release()


def share_arrays() -> None:
    """From now on all threads of a simulated block get the same shared arrays."""
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    begin = FakeCUDAShared.__init__

    def __init__(self, *sizes):
        begin(self, *sizes)
        self._allocations = Allocations()

    FakeCUDAShared.__init__ = __init__
