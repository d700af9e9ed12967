"""Running a list of kernel calls on all threads together.

A program is a table with one row a call: entry address, address of the packed arguments, number of
tasks. Every thread walks the same rows. A row's tasks are cut into *shares*, one for each thread,
or for a few of them where there are many. A thread takes the tasks of its own share from an atomic
counter, then those that are left of the others'. A row is over when the count of *finished tasks*
(not of arrived threads) reaches its number of tasks. So a thread that comes late, or never, holds
nobody up: one thread alone completes the program. Which thread runs a task is not fixed; what a
task writes is.

Shares keep data where it is: tasks go through memory in order, so a thread reads from its own cache
what it wrote in the row before, and walks through memory in one long stretch. When threads took
turns at a row's tasks, 3x3 depthwise on 8 x 45 x 37 x 50 took 0.115 ms instead of 0.087, and on a
bad day 0.17, as long as with one thread; one image to 6 filters, 5x5, 0.175 instead of 0.165, and
0.23.

The calling thread *leads*; the others *follow* a board of shared words, where the leader announces
the program and opens a gate. A follower enters through the gate and counts itself in. When all rows
are done the leader closes the
gate and waits only for those inside: a follower that the operating system has not woken yet finds
the gate closed.
"""

from functools import cache

from nbcnn.kernels.cpu import jit, simd, types

ROW = 3  # words a row: entry, block, tasks
SHARES = 8  # of a row's tasks, at most: a thread looks at all of them before it has done its part
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


def counters_for(rows: int, threads: int) -> int:
    """Counters of a program: of every row the finished tasks, and the taken ones of each share."""
    return rows * (1 + min(threads, SHARES))


@jit.helper
def walk(rows, counters, last, thread, threads, nap):
    """Do what is left of every row, in order."""
    shares = min(threads, SHARES)
    own = thread * shares // threads
    for row in range(last):
        entry = rows + types.uintp(24 * row)
        tasks = simd.load_int(entry + types.uintp(16))
        if tasks == 0:
            continue
        done = counters + types.uintp(8 * row)
        for step in range(shares):
            share = (own + step) % shares
            taken = counters + types.uintp(8 * (last * (1 + share) + row))
            first, end, finished = tasks * share // shares, tasks * (share + 1) // shares, 0
            task = first + simd.atomic_load(taken)
            if task < end:
                task = first + simd.atomic_add(taken, 1)
            while task < end:
                simd.call_entry(
                    simd.load_int(entry), simd.load_int(entry + types.uintp(8)), task, thread
                )
                finished += 1
                task = first + simd.atomic_add(taken, 1)
            if finished > 0:
                simd.atomic_add(done, finished)
        spins = 0
        while simd.atomic_load(done) < tasks:
            spins += 1
            wait(spins, nap)


def lead(rows, counters, last, board, threads, nap):
    """Run rows 0..last-1. `rows`, `counters`: addresses of int64 tables; the counters, as many as
    `counters_for` says, are zeroed here.

    `threads` counts this one too. `nap` is the address of the C function usleep, or 0 to wait
    without sleeping.
    """
    for counter in range(last * (1 + min(threads, SHARES))):
        simd.store_int(counters + types.uintp(8 * counter), 0)
    gate = board + types.uintp(GATE)
    if threads > 1:
        simd.store_int(board + types.uintp(ROWS), types.int64(rows))
        simd.store_int(board + types.uintp(COUNTERS), types.int64(counters))
        simd.store_int(board + types.uintp(LAST), last)
        simd.store_int(board + types.uintp(THREADS), threads)
        simd.atomic_add(gate, -CLOSED)
        simd.atomic_add(board + types.uintp(ANNOUNCED), 1)
    walk(rows, counters, last, 0, threads, nap)
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
                simd.load_int(board + types.uintp(THREADS)),
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
