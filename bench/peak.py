"""What this machine can do at most: FMA rate and copy bandwidth, on all threads, by nbcnn's own
kernels.

    python bench/peak.py [--threads N]

FMA: 24 (12 with 16 vector registers) independent accumulators in registers, no memory. Copy: an
array larger than the caches, bytes read plus bytes written. Read: the sum of such an array. All are
the best of several short runs.
"""

import argparse
import os
import time
from functools import cache

import numpy as np
from llvmlite import ir

from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import ITEM
from nbcnn.kernels.cpu.call import Call, Caps
from nbcnn.runtime.cpu import CpuDevice

_I64 = ir.IntType(64)
MEGABYTE = 1 << 20
ABREAST = 8


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
        entry, loop, end = builder.block, *(builder.append_basic_block(n) for n in ("loop", "end"))
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


def best(program, runs: int = 25) -> float:
    """Seconds of the fastest of `runs` runs, after one to warm up."""
    program.run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        program.run()
        times.append(time.perf_counter() - start)
    return min(times)


def fma_program(device: CpuDevice, dtype: str = "float32"):
    """(program, its FLOP): fused multiply-adds, two FLOP each, on all threads of the device."""
    caps: Caps = device.caps
    item = ITEM[dtype]
    lanes, chains = caps.vector // item, 24 if caps.registers == 32 else 12
    steps, tasks = 400_000, 4 * caps.threads
    target = np.zeros(tasks * 16, np.float32)
    program = device.program([Call(fma_kernel(lanes, item, chains), tasks, (steps, target))])
    return program, 2 * lanes * chains * steps * tasks


def fma_peak(device: CpuDevice, dtype: str = "float32") -> float:
    """FLOP/s of fused multiply-adds (two each) on all threads of the device."""
    program, flops = fma_program(device, dtype)
    return flops / best(program)


def copy_bandwidth(device: CpuDevice, megabytes: int = 256) -> float:
    """Bytes read plus bytes written per second, copying on all threads."""
    source = np.ones(megabytes << 20, np.uint8)
    target = np.zeros_like(source)
    program = device.program([Call(copy, megabytes, (target, source))])
    return 2 * source.nbytes / best(program, runs=3)


def read_bandwidth(device: CpuDevice, megabytes: int = 256) -> float:
    """Bytes read per second from memory, on all threads."""
    source = np.ones(megabytes * MEGABYTE // 4, np.float32)
    target = np.zeros(megabytes * 16, np.float32)
    kernel = read_kernel(device.caps.vector // 4)
    program = device.program([Call(kernel, megabytes, (source, target))])
    return source.nbytes / best(program, runs=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    device = CpuDevice(parser.parse_args().threads)
    print(f"threads {device.caps.threads}, vectors of {8 * device.caps.vector} bits")
    for dtype in ("float32", "float64"):
        print(f"FMA peak {dtype}: {fma_peak(device, dtype) * 1e-9:.1f} GFLOP/s")
    print(f"copy: {copy_bandwidth(device) * 1e-9:.1f} GB/s (read + written)")
    print(f"read: {read_bandwidth(device) * 1e-9:.1f} GB/s")


if __name__ == "__main__":
    main()
