"""What a GPU can do at most, by nbcnn's own kernels: multiply-adds from registers, copies, and
multiply-adds of tensor cores.

    python bench/peak_cuda.py [--device cuda:0]

Multiply-adds: 16 independent sums a thread, no memory. Copy: 64-bit words of an array larger than
the caches, bytes read plus bytes written. Tensor cores: 8 independent 16x8 tiles of sums a warp
through `mma.sync`, which every GPU since Ampere has; on Hopper also 64x128 sums of four warps
through `wgmma`, which is the faster way there. Each is the median of several runs, by the GPU's
events.

State: the kernels run in the simulator or compile for GPUs; not run on one yet.
"""

import argparse
from functools import cache
from typing import Any

import numpy as np
from clocks import clock_of, median_seconds
from numba import cuda, float32, int32

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import SIMULATED_THREADS, Launch
from nbcnn.runtime.device import get_device

BLOCK, WARP = 256, 32
BLOCKS = 8  # of a multiprocessor
CHAINS, UNROLLED = 16, 8
TILES, TILE_SUMS = 8, 4  # tiles of a warp; sums of a tile that one thread has
STEPS = {"tf32": 8, "bfloat16": 16}  # of a sum, by one instruction
HOPPER, COLUMNS, GROUP = (9, 0), 128, 128  # of a wgmma; threads that do it together
LINE, ALIGNED = 128, 1024  # bytes


@cache
def fma_kernel(chains: int, unrolled: int) -> Any:
    """`steps` times `unrolled` rounds of `chains` multiply-adds by each thread."""

    @jit.kernel(bounds=BLOCK, constants=(chains, unrolled))
    def fma_rounds(steps, p):
        sums = cuda.local.array(chains, float32)
        factor, term = p[0], p[1]
        for c in range(chains):
            sums[c] = p[2 + c]
        for _ in range(steps):
            for _ in range(unrolled):
                for c in range(chains):
                    sums[c] = cuda.fma(sums[c], factor, term)
        whole = float32(0.0)
        for c in range(chains):
            whole += sums[c]
        p[2 + chains + cuda.grid(1)] = whole

    return fma_rounds


@jit.kernel(bounds=BLOCK)
def copy_words(n, x, y):
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        y[i] = x[i]


@cache
def mma_kernel(kind: str) -> Any:
    """`steps` rounds of products of `TILES` tiles by each warp; for real GPUs."""
    from nbcnn.kernels.cuda import ptx

    mma = {"tf32": ptx.mma_tf32, "bfloat16": ptx.mma_bf16}[kind]
    bits, tiles, sums_of_thread = ptx.bits, TILES, TILES * TILE_SUMS

    @jit.kernel(bounds=BLOCK, constants=(kind, tiles))
    def mma_rounds(steps, p):
        sums = cuda.local.array(sums_of_thread, float32)
        for c in range(sums_of_thread):
            sums[c] = float32(0.0)
        lane = cuda.threadIdx.x % 32
        a, b = bits(p[lane]), bits(p[lane + 32])
        for _ in range(steps):
            for t in range(tiles):
                s = 4 * t
                r = mma(sums[s], sums[s + 1], sums[s + 2], sums[s + 3], a, b, a, b, b, a)
                sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = r
        whole = float32(0.0)
        for c in range(sums_of_thread):
            whole += sums[c]
        p[64 + cuda.grid(1)] = whole

    return mma_rounds


@cache
def wgmma_kernel(kind: str) -> Any:
    """`steps` rounds of 64 x 128 sums by every four warps, out of shared memory; for Hopper."""
    from nbcnn.kernels.cuda import ptx

    wgmma, shared_address = ptx.wgmma(COLUMNS, kind == "bfloat16"), ptx.shared_address
    descriptor, fence = ptx.descriptor, ptx.fence_async
    rows = 64 * LINE  # bytes of the left operand
    words, sums_of_thread = (rows + COLUMNS * LINE + ALIGNED) // 4, COLUMNS // 2

    @jit.kernel(bounds=BLOCK, constants=(kind,))
    def wgmma_rounds(steps, p):
        tiles = cuda.shared.array(words, float32)
        sums = cuda.local.array(sums_of_thread, float32)
        # A constant step: to divide by another one the compiler makes a call, and with a call in
        # it a kernel's wgmma instructions wait for each other.
        for i in range(cuda.threadIdx.x, words, BLOCK):
            tiles[i] = p[i % 64]
        for c in range(sums_of_thread):
            sums[c] = float32(0.0)
        start = int32((shared_address(tiles) + int32(1023)) & int32(-1024))
        fence()
        cuda.syncthreads()
        for _ in range(steps):
            wgmma(sums, descriptor(start), descriptor(int32(start + rows)))
        whole = float32(0.0)
        for c in range(sums_of_thread):
            whole += sums[c]
        p[64 + cuda.grid(1)] = whole

    return wgmma_rounds


def array(device: Any, n: int, dtype: str = "float32") -> Any:
    found = device.view(device.empty(n * np.dtype(dtype).itemsize), 0, (n,), dtype)
    device.upload(found, np.linspace(0.25, 0.5, n).astype(dtype))
    return found


def shape_of(device: Any) -> tuple[int, int]:
    """Blocks and threads that keep every multiprocessor busy; few of a simulated one."""
    if device.caps.simulated:
        return 1, SIMULATED_THREADS
    return device.caps.multiprocessors * BLOCKS, BLOCK


def rate(device: Any, launch: Launch, work: float, seconds: float) -> float:
    program = device.program([launch])
    return work / median_seconds(clock_of(device), program.run, seconds)


def fma_peak(device: Any, seconds: float = 0.2) -> float:
    """FLOP/s of fused multiply-adds of float32, two each."""
    grid, block = shape_of(device)
    steps = 1 if device.caps.simulated else 2000
    p = array(device, 2 + CHAINS + grid * block)
    launch = Launch(fma_kernel(CHAINS, UNROLLED), grid, block, (steps, p), fixed=True)
    return rate(device, launch, 2.0 * steps * UNROLLED * CHAINS * grid * block, seconds)


def copy_bandwidth(device: Any, seconds: float = 0.2) -> float:
    """Bytes read plus bytes written per second."""
    grid, block = shape_of(device)
    n = 64 if device.caps.simulated else (512 << 20) // 8
    x, y = array(device, n, "float64"), array(device, n, "float64")
    return rate(device, Launch(copy_words, grid, block, (n, x, y)), 16.0 * n, seconds)


def tensor_core_peak(device: Any, kind: str, seconds: float = 0.2) -> float:
    """FLOP/s of tensor cores, for "tf32" or "bfloat16"; of Hopper's two ways the faster."""
    grid, block = shape_of(device)
    steps, p = 2000, array(device, 64 + grid * block)
    tile = 2 * 16 * 8 * STEPS[kind]
    whole = grid * steps
    ways = [(mma_kernel, whole * TILES * tile * (block // WARP))]
    if device.caps.compute_capability == HOPPER:
        line = LINE // 32 * STEPS[kind]
        ways.append((wgmma_kernel, whole * 2 * 64 * COLUMNS * line * (block // GROUP)))
    return max(
        rate(device, Launch(kernel(kind), grid, block, (steps, p), fixed=True), work, seconds)
        for kernel, work in ways
    )


def limits(device: Any, seconds: float = 0.2) -> dict[str, float]:
    """FLOP/s by the precision of factors, and bytes/s as "copy"."""
    found = {
        "float32": fma_peak(device, seconds),
        "copy": copy_bandwidth(device, seconds),
    }
    if not device.caps.simulated and device.caps.compute_capability >= (8, 0):
        found |= {kind: tensor_core_peak(device, kind, seconds) for kind in STEPS}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    device = get_device(parser.parse_args().device)
    for name, value in limits(device).items():
        unit = "GB/s (read + written)" if name == "copy" else "GFLOP/s"
        print(f"{name}: {value * 1e-9:,.1f} {unit}")


if __name__ == "__main__":
    main()
