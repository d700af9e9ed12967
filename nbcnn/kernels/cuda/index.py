"""Where the elements of an array with several axes lie: divisions of indices.

A division of 64 bits is a function call of some hundred instructions on a GPU, one of 32 bits about
twenty instructions. Indices need more than 32 bits only in arrays of more than 2^32 elements, for
which kernels are made anew (`far`).
"""

from functools import cache
from typing import Any

import numpy as np

from nbcnn.kernels.cuda import jit


@jit.device
def divided(a, b):
    """Quotient and remainder of integers below 2^32."""
    a, b = np.uint32(a), np.uint32(b)
    quotient = np.uint32(a // b)
    return np.int64(quotient), np.int64(np.uint32(a - quotient * b))


@jit.device
def divided_far(a, b):
    return a // b, a % b


def is_far(size: int) -> bool:
    """Whether indices below `size` need more than 32 bits."""
    return size > 1 << 32


def divider(far: bool) -> Any:
    return divided_far if far else divided


@cache
def placer(far: bool) -> Any:
    """place(i, d1 .. d4, s0 .. s4): where element i of an array of these sizes, last fastest, is
    found by these strides. The first axes are often of size 1: then nothing is left to divide.
    """
    divided = divider(far)

    @jit.device
    def place(i, d1, d2, d3, d4, s0, s1, s2, s3, s4):
        at = i * 0
        if i > 0:
            i, k = divided(i, d4)
            at += k * s4
        if i > 0:
            i, k = divided(i, d3)
            at += k * s3
        if i > 0:
            i, k = divided(i, d2)
            at += k * s2
        if i > 0:
            i, k = divided(i, d1)
            at += k * s1
        return at + i * s0

    return place
