"""Running a list of kernel calls: one parallel region for all of them.

A program is a table with one row a call: entry address, address of the packed arguments, number of tasks. Every
thread walks the same rows. In a row the threads take task numbers from an atomic counter, and a row is over when
the count of *finished tasks* (not of arrived threads) reaches its number of tasks. So one thread alone also
completes the program: nothing deadlocks if the threading layer runs fewer threads than asked, or one after the
other. Which thread runs a task is not fixed; what a task writes is.
"""

from functools import cache

from numba import prange, types

from nbcnn.kernels.cpu import jit, simd

ROW = 3  # words a row: entry, block, tasks
# A waiting thread spins for some 20 us, then sleeps: where another program has taken the core of a thread that is
# in the middle of a task, a sleeper's core is free for that thread at once, a spinner's after a time slice of 4 ms.
SPINS = 2000
NAP = 20  # microseconds


def run(rows, counters, first, last, threads, nap):
    """Run rows first..last-1. `rows`, `counters`: addresses of int64 tables; two counters a row, zeroed here.

    `nap` is the address of the C function usleep, or 0 to wait without sleeping.
    """
    for row in range(first, last):
        simd.store_int(counters + types.uintp(16 * row), 0)
        simd.store_int(counters + types.uintp(16 * row + 8), 0)
    for thread in prange(threads):
        for row in range(first, last):
            entry = rows + types.uintp(24 * row)
            taken, done = counters + types.uintp(16 * row), counters + types.uintp(16 * row + 8)
            tasks = simd.load_int(entry + types.uintp(16))
            while True:
                task = simd.atomic_add(taken, 1)
                if task >= tasks:
                    break
                simd.call_entry(simd.load_int(entry), simd.load_int(entry + types.uintp(8)), task, thread)
                simd.atomic_add(done, 1)
            spins = 0
            while simd.atomic_load(done) < tasks:
                spins += 1
                if spins > SPINS and nap != 0:
                    simd.call_with_int(nap, NAP)


RUN_TYPES = (types.uintp, types.uintp, types.intp, types.intp, types.intp, types.uintp)


@cache
def compiled_run(parallel: bool):
    """`run` for many threads, or the same loop in the calling thread alone: no region to enter and leave."""
    return jit.compile_function(run, RUN_TYPES, parallel=parallel, _nrt=False)
