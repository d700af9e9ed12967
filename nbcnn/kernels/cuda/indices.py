"""Arithmetic of indices in 32 bits: Numba widens it to 64 bits, which costs a GPU several times as
much, a division even a function call.
"""

from numpy import int32, uint32

from nbcnn.kernels.cuda import jit


@jit.inlined
def divided(a, b):
    """(a // b, a % b) of numbers that are not negative."""
    quotient = int32(uint32(a) // uint32(b))
    return quotient, int32(a - quotient * b)
