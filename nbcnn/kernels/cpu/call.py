"""What a CPU implementation's `bind` returns: kernel calls, and the CPU's capabilities that it may
look at.
"""

from typing import Any, NamedTuple

from nbcnn.kernels.cpu.jit import Kernel


class Call(NamedTuple):
    """Run `kernel(task, thread, *args)` for every task in 0..tasks-1.

    `weights_only`: reads nothing but weights and constants, so in inference it runs once per weight
    change.
    """

    kernel: Kernel
    tasks: int
    args: tuple[Any, ...]
    weights_only: bool = False


class Caps(NamedTuple):
    """The CPU as kernels see it. Sizes in bytes."""

    threads: int
    vector: int  # widest vector that is fast: 64 AVX-512, 32 AVX2, 16 otherwise
    registers: int  # vector registers: 32 or 16
    fma: bool
    l1: int
    l2: int
    l3: int
    bfloat16: bool = False  # a dot product of pairs of bfloat16, of the widest vectors
    pairs: bool = False  # what kernels take for float32 operands are such pairs
    simulated: bool = False
