"""What a CPU can do at most: kernels that do nothing but multiply-adds, and nothing but move bytes.

    fma    s[i] = s[i] * f + f, for 24 (12 with 16 vector registers) vectors s[i]
    copy   y = x
    read   the sum of x

The sums of `fma` stay in registers, and are as many as hide the latency of one another: two
multiply-adds a cycle of 4 to 5 cycles each need 10, and registers hold more. `copy` and `read` are
for arrays larger than the caches, a megabyte a task, so that threads share them evenly.
"""

from functools import cache

import numpy as np
from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import ITEM
from nbcnn.kernels.cpu.call import Call, Caps

_I64 = ir.IntType(64)
MEGABYTE = 1 << 20  # of a task: far more than a call costs
ABREAST = 8  # sums that do not wait for each other
STEPS = 400_000  # rounds of a task


@cache
def fma_kernel(lanes: int, item: int, chains: int):
    """A kernel of `steps` rounds of `chains` independent multiply-adds of `lanes` numbers."""
    scalar = ir.FloatType() if item == 4 else ir.DoubleType()
    vector = ir.VectorType(scalar, lanes)

    def build(builder, args):
        steps, target = args
        pointer = builder.inttoptr(target, vector.as_pointer())
        kind = ir.FunctionType(vector, [vector] * 3)
        fma = ir.Function(builder.module, kind, f"llvm.fmuladd.v{lanes}f{8 * item}")
        factor = builder.load(pointer, align=item)
        entry = builder.block
        loop, end = (builder.append_basic_block(name) for name in ("loop", "end"))
        builder.branch(loop)
        builder.position_at_end(loop)
        left = builder.phi(_I64)
        sums = [builder.phi(vector) for _ in range(chains)]
        totals = [builder.call(fma, (s, factor, factor)) for s in sums]
        fewer = builder.sub(left, ir.Constant(_I64, 1))
        builder.cbranch(builder.icmp_signed(">", fewer, ir.Constant(_I64, 0)), loop, end)
        left.add_incoming(steps, entry)
        left.add_incoming(fewer, loop)
        for i, (phi, total) in enumerate(zip(sums, totals)):
            phi.add_incoming(ir.Constant(vector, [float(i)] * lanes), entry)
            phi.add_incoming(total, loop)
        builder.position_at_end(end)
        whole = totals[0]
        for total in totals[1:]:
            whole = builder.fadd(whole, total)
        builder.store(whole, pointer, align=item)

    rounds = simd.emit(types.void, (types.intp, types.intp), build)

    def fma(task, thread, steps, target):
        rounds(steps, simd.address(target) + task * 64)

    return jit.kernel(fma, constants=(lanes, item, chains))


@jit.kernel
def copy(task, thread, target, source):
    start = task * MEGABYTE
    simd.copy_bytes(simd.address(target) + start, simd.address(source) + start, MEGABYTE)


@cache
def read_kernel(lanes: int):
    """A kernel that adds up a megabyte a task in `ABREAST` vectors."""
    vector = simd.vector_type(lanes, 4)

    def build(builder, args):
        source, target = args
        zero = ir.Constant(vector, [0.0] * lanes)
        size = ABREAST * lanes * 4
        with simd.loop(builder, simd.integer(MEGABYTE), size, [zero] * ABREAST) as (i, sums):
            for v in range(ABREAST):
                at = builder.add(source, builder.add(i, simd.integer(4 * lanes * v)))
                sums[v] = builder.fadd(sums[v], simd.load_vector(builder, at, vector))
        whole = sums[0]
        for total in sums[1:]:
            whole = builder.fadd(whole, total)
        simd.store_vector(builder, whole, target)

    add_up = simd.emit(types.void, (types.intp, types.intp), build)

    def read(task, thread, source, target):
        add_up(simd.address(source) + task * MEGABYTE, simd.address(target) + task * 64)

    return jit.kernel(read, constants=(lanes,))


def fma_call(caps: Caps, dtype: str = "float32") -> tuple[Call, int]:
    """A call of fused multiply-adds for all threads, and how many FLOP it has, two for each."""
    item = ITEM[dtype]
    lanes, chains = caps.vector // item, 24 if caps.registers == 32 else 12
    tasks = 4 * caps.threads
    target = np.zeros(tasks * 16, np.float32)
    call = Call(fma_kernel(lanes, item, chains), tasks, (STEPS, target))
    return call, 2 * lanes * chains * STEPS * tasks


def copy_call(megabytes: int) -> tuple[Call, int]:
    """A call that copies so much, and how many bytes it reads and writes."""
    source = np.ones(megabytes * MEGABYTE, np.uint8)
    target = np.zeros_like(source)
    return Call(copy, megabytes, (target, source)), 2 * source.nbytes


def read_call(megabytes: int, caps: Caps) -> tuple[Call, int]:
    """A call that reads so much, and how many bytes that are."""
    source = np.ones(megabytes * MEGABYTE // 4, np.float32)
    target = np.zeros(megabytes * 16, np.float32)
    return Call(read_kernel(caps.vector // 4), megabytes, (source, target)), source.nbytes
