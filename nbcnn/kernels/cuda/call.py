"""What a CUDA implementation's `bind` returns: kernel launches, and the GPU's capabilities that it
may look at.
"""

import math
from typing import Any, NamedTuple

BLOCK = 256  # threads a block
BLOCKS_PER_MULTIPROCESSOR = 32
SIMULATED_THREADS = 8  # Python threads, which the simulator starts and polls: few, but not one


class Launch(NamedTuple):
    """Run `kernel[grid, block](*args)`: `grid` blocks of `block` threads, each up to three sizes.

    `weights_only`: reads nothing but weights and constants, so in inference it runs once per weight
    change. `shared`: bytes of dynamic shared memory of a block. `fixed`: the kernel is made for
    this grid and block (its blocks own tiles); others stride over the elements by any grid.
    """

    kernel: Any
    grid: int | tuple[int, ...]
    block: int | tuple[int, ...]
    args: tuple[Any, ...]
    weights_only: bool = False
    shared: int = 0
    fixed: bool = False

    @property
    def tasks(self) -> int:
        """What is dealt out: blocks."""
        return self.grid if isinstance(self.grid, int) else math.prod(self.grid)


class Caps(NamedTuple):
    """The GPU as kernels see it.

    simulated: Numba's CUDA simulator, correct and very slow. shared: bytes of shared memory that a
    block may have. tf32: products of float32 may take factors rounded to TF32.
    """

    multiprocessors: int
    compute_capability: tuple[int, int]
    simulated: bool = False
    shared: int = 48 * 1024
    tf32: bool = False


def launch(kernel: Any, caps: Caps, size: int, *args: Any) -> list[Launch]:
    """The launch of a kernel whose threads stride over `size` elements; none where there is nothing
    to do.

    Kernels stride by the whole grid, so any grid gives the same result. Arrays are passed flat.
    """
    if size == 0:
        return []
    flat = tuple(a.reshape(a.size) if hasattr(a, "reshape") and a.ndim != 1 else a for a in args)
    if caps.simulated:
        return [Launch(kernel, 1, min(size, SIMULATED_THREADS), flat)]
    grid = min(-(-size // BLOCK), caps.multiprocessors * BLOCKS_PER_MULTIPROCESSOR)
    return [Launch(kernel, grid, BLOCK, flat)]
