"""Several kernels compiled at a time, by copies of this process.

Numba compiles one function at a time in a process, so a copy is what takes another core. It is made
by forking: it begins with all that this process has loaded, and no kernel has to be described to
it. A copy only compiles, stores files and ends; whatever it fails to do, for any reason, is still
to be done here. Other systems than Linux do not offer that (or, macOS, advise against it).
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

WORTHWHILE = 3  # kernels: below, a copy would not be done before this process alone
MOST_PROCESSES = 8
PATIENCE = 5.0  # seconds that a copy may need longer than this process did


def process_count(tasks: int) -> int:
    """Processes to build so many kernels with, this one counted: NBCNN_BUILD_PROCESSES, by default
    as many as there are processors, at most 8.
    """
    if tasks < WORTHWHILE or not sys.platform.startswith("linux"):
        return 1
    chosen = os.environ.get("NBCNN_BUILD_PROCESSES", "")
    wanted = int(chosen) if chosen.isdecimal() else len(os.sched_getaffinity(0))
    return max(1, min(wanted, MOST_PROCESSES, tasks // 2))


def build(
    tasks: Sequence[Callable[[], None]], still: Callable[[], AbstractContextManager] = nullcontext
) -> None:
    """Run every task, each in one of several processes. What a task leaves must be on disk.

    Some may not have been run in the end, where a copy has failed. Inside `still()` nobody else may
    be in the compiler: it is copied then.
    """
    processes = process_count(len(tasks))
    if processes == 1:
        return
    with still():
        queue = _queue(len(tasks))
        begin = time.monotonic()
        copies: list[int] = []
        try:
            copies = [_fork(queue, tasks) for _ in range(processes - 1)]
            _work(queue, tasks)
            _wait(copies, 2 * time.monotonic() - begin + PATIENCE)
        except OSError:  # no more processes
            pass
        finally:
            os.close(queue)
            _end(copies)


def _queue(size: int) -> int:
    """A pipe with the numbers of tasks: whichever process reads one has taken that task."""
    reader, writer = os.pipe()
    os.write(writer, b"".join(number.to_bytes(2, "little") for number in range(size)))
    os.close(writer)
    return reader


def _work(queue: int, tasks: Sequence[Callable[[], None]]) -> None:
    while number := os.read(queue, 2):
        tasks[int.from_bytes(number, "little")]()


def _fork(queue: int, tasks: Sequence[Callable[[], None]]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other threads: they are of no use to the copy
        child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its copies
        _work(queue, tasks)
    finally:
        os._exit(0)


def _wait(copies: list[int], deadline: float) -> None:
    """Wait for copies to end, and take those that did from the list."""
    pause = 0.001
    while copies and time.monotonic() < deadline:
        copies[:] = [child for child in copies if not _ended(child)]
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:  # somebody else has waited for it
        return True


def _end(copies: list[int]) -> None:
    for child in copies:
        try:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
