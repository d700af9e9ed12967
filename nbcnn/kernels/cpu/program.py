"""Running a list of kernel calls on all threads together.

A program is a table with one row a call: entry address, address of the packed arguments, number of
tasks. Every thread walks the same rows. In a row the threads take task numbers from an atomic
counter, and a row is over when the count of *finished tasks* (not of arrived threads) reaches its
number of tasks. So a thread that comes late, or
never, holds nobody up: one thread alone completes the program. Which thread runs a task is not
fixed; what a task writes is.

The calling thread *leads*; the others *follow* a board of shared words, where the leader announces
the program and opens a gate. A follower enters through the gate and counts itself in. When all rows
are done the leader closes the
gate and waits only for those inside: a follower that the operating system has not woken yet finds
the gate closed.
"""

from functools import cache

from nbcnn.kernels.cpu import jit, simd, types

ROW = 3  # words a row: entry, block, tasks
# The board, in bytes: words that are written at different moments lie on cache lines of their own.
ANNOUNCED, GATE, ROWS, COUNTERS, LAST, THREADS, BOARD = 0, 64, 128, 136, 144, 152, 192
CLOSED = 1 << 32  # on the gate: nobody may enter; below it is the number of followers inside

# A waiting thread spins for some 100 us, then sleeps: where another program has taken the core of a
# thread that is in the middle of a task, a sleeper's core is free for that thread at once, a
# spinner's after a time slice of 4 ms. A sleeper is back after 70 us and more, so it should not
# begin while the others are in their last tasks, which take up to 50 us: with 400 spins training
# and inference lost 4 to 7 %, batches of 4 small images two thirds. With two threads and a third
# program on two cores 400, 2000 and 10000 spins are equal.
SPINS = 2000
NAP = 20  # microseconds
IDLE = 10_000  # spins, about half a millisecond, after which a follower without work returns


@jit.helper
def wait(spins, nap):
    simd.pause()
    if spins > SPINS and nap != 0:
        simd.call_with_int(nap, NAP)


@jit.helper
def walk(rows, counters, last, thread, nap):
    """Do what is left of every row, in order."""
    for row in range(last):
        entry = rows + types.uintp(24 * row)
        taken, done = counters + types.uintp(16 * row), counters + types.uintp(16 * row + 8)
        tasks = simd.load_int(entry + types.uintp(16))
        if tasks == 0:
            continue
        while True:
            task = simd.atomic_add(taken, 1)
            if task >= tasks:
                break
            simd.call_entry(
                simd.load_int(entry), simd.load_int(entry + types.uintp(8)), task, thread
            )
            simd.atomic_add(done, 1)
        spins = 0
        while simd.atomic_load(done) < tasks:
            spins += 1
            wait(spins, nap)


def lead(rows, counters, last, board, threads, nap):
    """Run rows 0..last-1. `rows`, `counters`: addresses of int64 tables; two counters a row, zeroed
    here.

    `threads` counts this one too. `nap` is the address of the C function usleep, or 0 to wait
    without sleeping.
    """
    for row in range(2 * last):
        simd.store_int(counters + types.uintp(8 * row), 0)
    gate = board + types.uintp(GATE)
    if threads > 1:
        simd.store_int(board + types.uintp(ROWS), types.int64(rows))
        simd.store_int(board + types.uintp(COUNTERS), types.int64(counters))
        simd.store_int(board + types.uintp(LAST), last)
        simd.store_int(board + types.uintp(THREADS), threads)
        simd.atomic_add(gate, -CLOSED)
        simd.atomic_add(board + types.uintp(ANNOUNCED), 1)
    walk(rows, counters, last, 0, nap)
    if threads > 1:
        simd.atomic_add(gate, CLOSED)
        spins = 0
        while simd.atomic_load(gate) != CLOSED:
            spins += 1
            wait(spins, nap)


def follow(board, thread, seen, nap):
    """Join announced programs until none comes for a while; returns the number of the last one
    seen.
    """
    gate, idle = board + types.uintp(GATE), 0
    while idle < IDLE:
        announced = simd.atomic_load(board + types.uintp(ANNOUNCED))
        if announced == seen:
            idle += 1
            simd.pause()
            continue
        seen, idle = announced, 0
        if simd.atomic_add(gate, 1) < CLOSED and thread < simd.load_int(
            board + types.uintp(THREADS)
        ):
            walk(
                types.uintp(simd.load_int(board + types.uintp(ROWS))),
                types.uintp(simd.load_int(board + types.uintp(COUNTERS))),
                simd.load_int(board + types.uintp(LAST)),
                thread,
                nap,
            )
        simd.atomic_add(gate, -1)
    return seen


LEAD = jit.Function(
    lead, (types.uintp, types.uintp, types.intp, types.uintp, types.intp, types.uintp)
)
FOLLOW = jit.Function(follow, (types.uintp, types.intp, types.int64, types.uintp), types.int64)


@cache
def compiled_lead():
    return jit.compile_function(LEAD)


@cache
def compiled_follow():
    return jit.compile_function(FOLLOW)
