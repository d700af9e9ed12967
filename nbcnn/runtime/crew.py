"""The threads that help the calling thread run programs (see `kernels.cpu.program`)."""

import ctypes
import os
import sys
import threading
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import program


class Follower:
    """One helping thread. `asleep` is set by the thread and cleared by whoever wakes it."""

    def __init__(self, number: int, board: int):
        self.asleep = False
        self.calls = 0
        self._guard = threading.Lock()  # of `asleep` and `calls`
        self._alarm = threading.Lock()
        self._alarm.acquire()
        arguments = (number, board)
        threading.Thread(
            target=self._follow, args=arguments, name=f"nbcnn-{number}", daemon=True
        ).start()

    def wake(self) -> None:
        """Called before every program. A follower just falling asleep sees the call and stays."""
        with self._guard:
            self.calls += 1
            if self.asleep:
                self.asleep = False
                self._alarm.release()

    def _follow(self, number: int, board: int) -> None:
        run, seen = program.compiled_follow(), 0
        while True:
            calls = self.calls
            seen = run(board, number, seen, usleep())
            with self._guard:  # it waited for Python's lock: a program may have begun since
                self.asleep = idle = self.calls == calls
            if idle:
                self._alarm.acquire()


class Crew:
    """The followers of one process. Without work for half a millisecond they sleep; `lead` wakes
    them.

    One program runs at a time, whichever threads call.
    """

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._memory = np.zeros(program.BOARD // 8 + 8, dtype=np.int64)
        self._board = -(-self._memory.ctypes.data // 64) * 64
        skipped = (self._board - self._memory.ctypes.data) // 8
        self._memory[skipped + program.GATE // 8] = program.CLOSED
        self._followers: list[Follower] = []
        self._run = program.compiled_lead()

    def lead(self, rows: int, counters: int, last: int, threads: int) -> None:
        """Run a program on up to `threads` threads; arguments as `program.lead`."""
        with self._busy:
            while len(self._followers) < threads - 1:
                self._followers.append(Follower(len(self._followers) + 1, self._board))
            for follower in self._followers[: threads - 1]:
                follower.wake()
            self._run(rows, counters, last, self._board, threads, usleep())


@cache
def usleep() -> int:
    """Address of the C library's usleep; 0 on Windows, which has none."""
    if sys.platform == "win32":
        return 0
    return ctypes.cast(ctypes.CDLL(None).usleep, ctypes.c_void_p).value or 0


@cache
def crew() -> Crew:
    """This process's crew."""
    return Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=crew.cache_clear)  # threads do not survive a fork
