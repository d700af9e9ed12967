"""Local response normalization of rows of channels, forward and backward.

    d[i] = k + alpha sum_{|j - i| <= size // 2} x[j]^2,    y[i] = x[i] d[i]^-beta
    g[i] = dy[i] d[i]^-beta
    dx[i] = g[i] - 2 alpha beta x[i] sum_{|j - i| <= size // 2} g[j] x[j] / d[j]

A row's squares lie in a buffer in L1 between zeros, so the sum over a window is `size` loads from
places beside each other, for vectors of channels, without a test for the ends. Backward has a
second such buffer, for what the last sum is of; d is computed again. So memory gives each map once.
`size` is part of the kernel. Of exponents, 3/4, 1/2 and 1 go by square roots
and a division, others by exp(-beta log d).
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import BLOCK, blocks, flat
from nbcnn.kernels.cpu.simd_streams import again, fetch, put
from nbcnn.kernels.cpu.vector_math import elementary, square_root
from nbcnn.kernels.impl import Impl, Scratch, always
from nbcnn.ops.response_norm import ResponseNormSpec

ROOTS = (0.75, 0.5, 1.0)  # exponents with a form of their own


@cache
def power_of(exponent: float, dtype: str) -> Callable:
    """power(d, minus_beta) = d^-beta; `exponent`: beta where it is one of `ROOTS`, else 0."""
    sqrt, number = square_root(dtype), np.dtype(dtype).type

    if exponent == 0.75:

        @jit.always_inline
        def power(d, minus_beta):
            root = sqrt(d)
            return number(1) / (root * sqrt(root))

    elif exponent == 0.5:

        @jit.always_inline
        def power(d, minus_beta):
            return number(1) / sqrt(d)

    elif exponent == 1.0:

        @jit.always_inline
        def power(d, minus_beta):
            return number(1) / d

    else:
        exp, log = elementary("exp", dtype), elementary("log", dtype)

        @jit.always_inline
        def power(d, minus_beta):
            return number(exp(minus_beta * number(log(d))))

    return power


@jit.always_inline
def square_at(squares, i):
    return again(squares, i, 0)


@jit.always_inline
def share_at(shares, i):
    return again(shares, i, 1)


def window_sum(at: Callable, size: int, first: int = 0) -> Callable:
    """total(buffer, i): of `size` numbers from i + first on. As one expression, halves of halves:
    around a loop, if only of five rounds, LLVM does not make vectors.
    """
    if size == 1:

        @jit.always_inline
        def number(buffer, i):
            return at(buffer, i + first)

        return number
    half = size // 2
    left, right = window_sum(at, half, first), window_sum(at, size - half, first + half)

    @jit.always_inline
    def total(buffer, i):
        return left(buffer, i) + right(buffer, i)

    return total


@cache
def forward_kernel(size: int, exponent: float, dtype: str) -> jit.Kernel:
    power, half, number = power_of(exponent, dtype), size // 2, np.dtype(dtype).type
    sum_of_squares = window_sum(square_at, size)

    @jit.kernel(constants=(size, exponent, dtype))
    def response_norm(task, thread, spec, per, x, y, buffers):
        s, squares = spec, buffers[thread]
        alpha, k, minus_beta = number(s.alpha), number(s.k), number(-s.beta)
        for i in range(half):
            squares[i], squares[half + s.c + i] = 0, 0
        for row in range(task * per, min((task + 1) * per, s.rows)):
            at = row * s.c
            for i in range(s.c):
                value = fetch(x, at + i)
                put(squares, half + i, value * value, 0)
            for i in range(s.c):
                d = alpha * sum_of_squares(squares, i) + k
                put(y, at + i, fetch(x, at + i) * power(d, minus_beta), 1)

    return response_norm


@cache
def gradient_kernel(size: int, exponent: float, dtype: str) -> jit.Kernel:
    power, half, number = power_of(exponent, dtype), size // 2, np.dtype(dtype).type
    sum_of_squares, sum_of_shares = window_sum(square_at, size), window_sum(share_at, size)

    @jit.kernel(constants=(size, exponent, dtype))
    def response_norm_dx(task, thread, spec, per, x, dy, dx, buffers, others):
        s, squares, shares = spec, buffers[thread], others[thread]
        alpha, k, minus_beta = number(s.alpha), number(s.k), number(-s.beta)
        factor = number(-2 * s.alpha * s.beta)
        for i in range(half):
            squares[i], squares[half + s.c + i] = 0, 0
            shares[i], shares[half + s.c + i] = 0, 0
        for row in range(task * per, min((task + 1) * per, s.rows)):
            at = row * s.c
            for i in range(s.c):
                value = fetch(x, at + i)
                put(squares, half + i, value * value, 0)
            for i in range(s.c):
                d = alpha * sum_of_squares(squares, i) + k
                scaled = fetch(dy, at + i) * power(d, minus_beta)
                put(shares, half + i, scaled * fetch(x, at + i) / d, 1)
                put(dx, at + i, scaled, 2)
            for i in range(s.c):
                part = factor * fetch(x, at + i) * sum_of_shares(shares, i)
                put(dx, at + i, again(dx, at + i, 2) + part, 2)

    return response_norm_dx


def scratch_of(*names: str):
    """Buffers of a row with room on both sides."""

    def scratch(spec: ResponseNormSpec, dtype: str, caps) -> dict[str, Scratch]:
        return {name: Scratch((caps.threads, spec.c + spec.size), dtype) for name in names}

    return scratch


def bind_with(kernel: Callable[[int, float, str], jit.Kernel]):
    def bind(spec: ResponseNormSpec, caps, inputs, outputs, scratch) -> list[Call]:
        arrays = [flat(a) for a in (*inputs, *outputs)]
        per = max(1, BLOCK // max(spec.c, 1))
        exponent = spec.beta if spec.beta in ROOTS else 0.0
        made = kernel(spec.size, exponent, arrays[0].dtype.name)
        tasks = blocks(spec.rows, per) if spec.c else 0
        return [Call(made, tasks, (spec, per, *arrays, *scratch.values()))]

    return bind


response_norm = Impl(
    "rows", always, bind_with(forward_kernel), scratch_of("squares"), inplace=((0, 0),)
)
response_norm_dx = Impl(
    "rows", always, bind_with(gradient_kernel), scratch_of("squares", "shares"), inplace=((0, 1),)
)
