"""Each instruction of `kernels.cuda.ptx` in a kernel of one warp: run in the simulator against
NumPy, or compiled and looked for in the machine code.

    NUMBA_ENABLE_CUDASIM=1 python -m cuda_cases.ptx
    python -m cuda_cases.ptx 8.0

prints JSON: for each what is wrong with it, or nothing.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float32, int32

from nbcnn.kernels.cuda import jit, ptx

WARP = 32
wait = ptx.wait_async(0)


class Probe(NamedTuple):
    """`expected(x, y)` is what the kernel (x, y) leaves in y; both of float32."""

    kernel: Any
    x: np.ndarray
    size: int
    expected: Callable
    sass: tuple[str, ...]  # beginnings of names of instructions
    threads: int = WARP
    capability: tuple | None = None  # of its own


def numbers(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


@jit.kernel
def quads(x, y):
    i = cuda.threadIdx.x
    a, b, c, d = ptx.load4(x, 4 * i)
    ptx.store4(y, 4 * (31 - i), d, c, b, a)


@jit.kernel
def pairs(x, y):
    i = cuda.threadIdx.x
    ptx.store2(y, 2 * i, x[2 * i + 1], x[2 * i])


@jit.kernel
def shared_pairs(x, y):
    i = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    at = ptx.shared_address(tile)
    ptx.shared_store2(at + 8 * i, x[2 * i + 1], x[2 * i])
    cuda.syncthreads()
    y[i], y[32 + i] = ptx.shared_load(at + 4 * i), ptx.shared_load(at + 4 * (32 + i))


@jit.kernel
def shared_words(x, y):
    i = cuda.threadIdx.x
    tile = cuda.shared.array(64, float32)
    at = ptx.shared_address(tile)
    ptx.shared_store(at + 4 * (32 + i), x[i])
    cuda.syncthreads()
    y[i] = ptx.shared_load(at + 4 * (63 - i))


@jit.kernel
def shared_quads(x, y):
    i = cuda.threadIdx.x
    tile = cuda.shared.array(128, float32)
    at = ptx.shared_address(tile)
    a, b, c, d = ptx.load4(x, 4 * i)
    ptx.shared_store4(at + 16 * i, a, b, c, d)
    cuda.syncthreads()
    a, b, c, d = ptx.shared_load4(at + 16 * (31 - i))
    ptx.store4(y, 4 * i, a, b, c, d)


@jit.kernel
def copies(x, y):
    """The first i words of 16 bytes come, from the second array of shared memory."""
    i = cuda.threadIdx.x
    other = cuda.shared.array(4, float32)
    tile = cuda.shared.array(128, float32)
    other[i % 4] = 0.0
    at = int32(ptx.shared_address(tile) + 16 * i)
    ptx.copy_async(at, ptx.address(x) + 16 * (31 - i), int32(4 * (i % 5)))
    ptx.commit_async()
    wait()
    cuda.syncthreads()
    a, b, c, d = ptx.shared_load4(at)
    ptx.store4(y, 4 * i, a, b, c, d + other[0])


def expected_copies(x):
    y = x.reshape(32, 4)[::-1].copy()
    for i in range(32):
        y[i, i % 5 :] = 0
    return y.ravel()


@jit.kernel
def warp_sums(x, y):
    i = cuda.threadIdx.x
    total, below = x[i], x[i]
    for step in range(5):
        total += ptx.shuffle_xor(total, 1 << step)
        below += ptx.shuffle_down(below, 16 >> step)
    y[i] = total
    if i == 0:
        y[32] = below


def matrix_kernel(load):
    """Loads four matrices of 8 x 8 halves and stores the registers' words, halves as numbers."""

    @jit.kernel
    def ldmatrix_kernel(x, y):
        i = cuda.threadIdx.x
        tile = cuda.shared.array(128, float32)
        at = ptx.shared_address(tile)
        for k in range(4):
            word = int32(8 * i + 2 * k | (8 * i + 2 * k + 1) << 16)
            tile[4 * i + k] = ptx.from_bits(word)
        cuda.syncthreads()
        a, b, c, d = load(at + 16 * i)
        y[8 * i], y[8 * i + 1] = a & 0xFFFF, a >> 16
        y[8 * i + 2], y[8 * i + 3] = b & 0xFFFF, b >> 16
        y[8 * i + 4], y[8 * i + 5] = c & 0xFFFF, c >> 16
        y[8 * i + 6], y[8 * i + 7] = d & 0xFFFF, d >> 16

    return ldmatrix_kernel


HALVES = np.arange(256.0).reshape(4, 8, 4, 2)  # matrix, row, word, half


@jit.kernel
def tf32_product(x, y):
    """y = 1 + a b: a (16, 8), then b (8, 8)."""
    lane = cuda.threadIdx.x
    g, t = lane // 4, lane % 4
    a0, a1 = ptx.round_tf32(x[8 * g + t]), ptx.round_tf32(x[8 * (g + 8) + t])
    a2, a3 = ptx.round_tf32(x[8 * g + t + 4]), ptx.round_tf32(x[8 * (g + 8) + t + 4])
    b0 = ptx.round_tf32_bits(ptx.bits(x[128 + 8 * t + g]))
    b1 = ptx.round_tf32_bits(ptx.bits(x[128 + 8 * (t + 4) + g]))
    c0, c1, c2, c3 = ptx.mma_tf32(1.0, 1.0, 1.0, 1.0, a0, a1, a2, a3, b0, b1)
    y[8 * g + 2 * t], y[8 * g + 2 * t + 1] = c0, c1
    y[8 * (g + 8) + 2 * t], y[8 * (g + 8) + 2 * t + 1] = c2, c3


def rounded(x, dropped: int, even: bool):
    """To that many bits less, by the arithmetic of the numbers and not of their bits."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = np.ldexp(mantissa, 24 - dropped)
    nearest = np.rint(scaled) if even else np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    return np.ldexp(nearest, exponent - 24 + dropped)


def expected_tf32(x):
    x = rounded(x, 13, even=False)
    return (1 + x[:128].reshape(16, 8) @ x[128:].reshape(8, 8)).ravel()


@jit.kernel
def bf16_product(x, y):
    """y = 1 + a b: a (16, 16), then the transposed b (8, 16)."""
    lane = cuda.threadIdx.x
    g, t = lane // 4, 2 * (lane % 4)
    a0 = ptx.pack_bf16(x[16 * g + t], x[16 * g + t + 1])
    a1 = ptx.pack_bf16(x[16 * (g + 8) + t], x[16 * (g + 8) + t + 1])
    a2 = ptx.pack_bf16(x[16 * g + t + 8], x[16 * g + t + 9])
    a3 = ptx.pack_bf16(x[16 * (g + 8) + t + 8], x[16 * (g + 8) + t + 9])
    b0 = ptx.pack_bf16(x[256 + 16 * g + t], x[256 + 16 * g + t + 1])
    b1 = ptx.pack_bf16(x[256 + 16 * g + t + 8], x[256 + 16 * g + t + 9])
    c0, c1, c2, c3 = ptx.mma_bf16(1.0, 1.0, 1.0, 1.0, a0, a1, a2, a3, b0, b1)
    y[8 * g + t], y[8 * g + t + 1] = c0, c1
    y[8 * (g + 8) + t], y[8 * (g + 8) + t + 1] = c2, c3


def expected_bf16(x):
    x = rounded(x, 16, even=True)
    return (1 + x[:256].reshape(16, 16) @ x[256:].reshape(8, 16).T).ravel()


multiply = ptx.wgmma(16, False)


@jit.kernel
def four_warps(x, y):
    """y = 1 + a b^T: a (64, 32), then b (16, 32), as swizzled lines in shared memory."""
    thread = cuda.threadIdx.x
    lines = cuda.shared.array(88 * 32, float32)
    start = (ptx.shared_address(lines) + 1023) & -1024
    for i in range(thread, 80 * 32, 128):
        row, place, rest = i // 32, i // 4 % 8, i % 4
        at = int32(start + row * 128 + (place ^ (row & 7)) * 16 + rest * 4)
        ptx.shared_store(at, ptx.from_bits(ptx.round_tf32(x[i])))
    ptx.fence_async()
    cuda.syncthreads()
    sums = cuda.local.array(8, float32)
    for i in range(8):
        sums[i] = float32(1.0)
    multiply(sums, ptx.descriptor(int32(start)), ptx.descriptor(int32(start + 64 * 128)))
    g, t, warp = thread % 32 // 4, thread % 4, thread // 32
    for i in range(8):
        row, column = 16 * warp + g + i // 2 % 2 * 8, i // 4 * 8 + 2 * t + i % 2
        y[16 * row + column] = sums[i]


def expected_four_warps(x):
    x = rounded(x, 13, even=False)
    return (1 + x[:2048].reshape(64, 32) @ x[2048:].reshape(16, 32).T).ravel()


@jit.kernel
def rounding(x, y):
    """Special numbers, which the products above do not have."""
    i = cuda.threadIdx.x
    y[i] = ptx.from_bits(ptx.round_tf32(x[i]))
    y[32 + i] = ptx.from_bits(ptx.round_tf32_bits(ptx.bits(x[i])) & -0x2000)
    pair = ptx.pack_bf16(x[i], x[31 - i])
    y[64 + i] = ptx.from_bits(int32(pair << 16))
    y[96 + i] = ptx.from_bits(pair & -0x10000)


def special_numbers():
    x = numbers(32)
    x[:8] = np.inf, -np.inf, np.nan, -0.0, 0.0, 1 + 2**-11, 1 + 2**-8, 1 + 3 * 2**-8
    x[8:10] = np.array([0x7FFFFFFF, 0x7F7FFFFF], np.uint32).view(np.float32)  # a GPU's NaN; largest
    return x


def expected_rounding(x):
    with np.errstate(all="ignore"):
        tf32 = rounded(x, 13, even=False).astype(np.float32)
        bf16 = rounded(x, 16, even=True).astype(np.float32)
    return np.concatenate([tf32, tf32, bf16, bf16[::-1]])


@jit.kernel
def fences(x, y):
    ptx.fence_async()
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x]


def same(x):
    return x


def swapped(x):
    return x.reshape(-1, 2)[:, ::-1].ravel()


PROBES = {
    "quads": Probe(quads, numbers(128), 128, lambda x: x[::-1], ("LDG.E.128", "STG.E.128")),
    "pairs": Probe(pairs, numbers(64), 64, swapped, ("STG.E.64",)),
    "shared pairs": Probe(shared_pairs, numbers(64), 64, swapped, ("STS.64",)),
    "shared words": Probe(shared_words, numbers(32), 32, lambda x: x[::-1], ("LDS", "STS")),
    "shared quads": Probe(
        shared_quads,
        numbers(128),
        128,
        lambda x: x.reshape(32, 4)[::-1].ravel(),
        ("LDS.128", "STS.128"),
    ),
    "copies": Probe(
        copies, numbers(128), 128, expected_copies, ("LDGSTS.E.BYPASS.128", "LDGDEPBAR")
    ),
    "sums": Probe(warp_sums, numbers(32), 33, lambda x: np.full(33, x.sum()), ("SHFL",)),
    "ldmatrix": Probe(
        matrix_kernel(ptx.ldmatrix),
        numbers(1),
        256,
        lambda x: HALVES.transpose(1, 2, 0, 3).ravel(),
        ("LDSM.16.M88.4",),
    ),
    "ldmatrix_trans": Probe(
        matrix_kernel(ptx.ldmatrix_trans),
        numbers(1),
        256,
        lambda x: HALVES.reshape(4, 4, 2, 8).transpose(3, 1, 0, 2).ravel(),
        ("LDSM.16.MT88.4",),
    ),
    "tf32": Probe(tf32_product, numbers(192), 128, expected_tf32, ("HMMA.1688.F32.TF32",)),
    "bf16": Probe(bf16_product, numbers(384), 128, expected_bf16, ("HMMA.16816.F32.BF16",)),
    "wgmma": Probe(
        four_warps,
        numbers(2560),
        1024,
        expected_four_warps,
        ("HGMMA.64x16x8.F32.TF32",),
        128,
        (9, 0, "a"),
    ),
    "rounding": Probe(rounding, special_numbers(), 128, expected_rounding, ("F2F", "F2FP.BF16")),
    "fences": Probe(fences, numbers(32), 32, same, ()),
}


def run(probe: Probe) -> str:
    y = np.full(probe.size, np.nan, np.float32)
    probe.kernel[1, probe.threads](probe.x, y)
    wanted = probe.expected(probe.x)
    close = np.isclose(y, wanted, rtol=2e-6, atol=2e-6, equal_nan=True)
    return "" if close.all() else f"{y[~close]} at {np.flatnonzero(~close)}, not {wanted[~close]}"


def compile_probe(probe: Probe, capability: tuple) -> str:
    from nbcnn.kernels.cuda.compiling import Architecture, compiled
    from nbcnn.kernels.cuda.disassembly import instructions

    target = Architecture(*(probe.capability or capability))
    names = instructions(compiled(probe.kernel, ("float32*", "float32*"), target).cubin)
    absent = [s for s in probe.sass if not any(name.startswith(s) for name in names)]
    return f"no {absent} in {names}" if absent else ""


def main() -> None:
    results = {}
    for name, probe in PROBES.items():
        try:
            if jit.SIMULATED:
                results[name] = run(probe)
            else:
                results[name] = compile_probe(probe, tuple(map(int, sys.argv[1].split("."))))
        except Exception:
            results[name] = traceback.format_exc()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
