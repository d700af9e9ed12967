"""Tiles of matrix products on tensor cores, and what the kernels of `mma_*.py` have in common.

Operands are seen in *chunks* of 16 bytes, 4 numbers of TF32 or 8 of bfloat16: what `cp.async`
copies and `ldmatrix` reads as a row. A matrix instruction takes two chunks of the sum, whatever is
in them, so the same source serves both precisions.
"""

from typing import Any, NamedTuple

from numba import int32, uint32

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.call import Caps

WARP = 32
CHUNK = 16  # bytes
ALIGNMENT = 1024  # bytes, of lines that wgmma reads
LINE = 128  # bytes: steps of the sum that are in shared memory at a time, of one row
PER_CHUNK = {False: 4, True: 8}  # numbers, by whether they are bfloat16
BLOCKS = 2  # of a multiprocessor: one multiplies while the other waits or stores
INDEX_LIMIT = 2**31


class Tile(NamedTuple):
    """rows x columns of y are a block's, warp_rows x warp_columns a warp's; so many stages of
    operands are in shared memory, all but one of them on their way there.
    """

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int
    hopper: bool = False  # four warps multiply what is in shared memory

    @property
    def threads(self) -> int:
        return WARP * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    @property
    def shared(self) -> int:
        """Bytes of shared memory: a line of every row and column, per stage; and room to begin at
        a multiple of `ALIGNMENT`.
        """
        return self.stages * (self.rows + self.columns) * LINE + self.hopper * ALIGNMENT


# From large to small. 128 x 128: 64 sums a thread, two blocks share a multiprocessor with 227 KB of
# shared memory. Not yet compared on a GPU.
TILES = (
    Tile(128, 128, 64, 32, 3),
    Tile(128, 64, 64, 32, 3),
    Tile(64, 64, 32, 32, 3),
)
# A warp has 16 of the 64 rows that four multiply at a time.
HOPPER_TILES = (Tile(128, 128, 16, 128, 3, True), Tile(128, 64, 16, 64, 4, True))
SIMULATED = {False: Tile(16, 32, 16, 16, 3), True: Tile(64, 16, 16, 16, 2, True)}


def tile_for(rows: int, columns: int, batch: int, hopper: bool, caps: Caps) -> Tile:
    """The largest tile whose blocks give every multiprocessor some work, and whose operands fit."""
    if caps.simulated:
        return SIMULATED[hopper]
    tiles = HOPPER_TILES if hopper else TILES
    fitting = [t for t in tiles if t.shared <= caps.shared] or [tiles[-1]]
    for tile in fitting:
        idle = blocks(columns, tile.columns) * tile.columns - columns
        enough = blocks_of(tile, rows, columns, batch) >= caps.multiprocessors
        if enough and idle < tile.columns // 2:
            return tile
    return fitting[-1]


def blocks(size: int, part: int) -> int:
    return -(-size // part)


def chunks_of(count: int, bfloat16: bool) -> int:
    return blocks(count, PER_CHUNK[bfloat16])


def blocks_of(tile: Tile, rows: int, columns: int, batch: int) -> int:
    return blocks(rows, tile.rows) * blocks(columns, tile.columns) * batch


def refuses(dtype: str, bfloat16: bool, hopper: bool, caps: Caps) -> str | None:
    """Why this GPU, or this type, has no such products."""
    if dtype != "float32":
        return f"no {dtype}"
    if not bfloat16 and not caps.tf32:
        return "products of float32 are to be exact"
    if not caps.simulated and caps.compute_capability < (8, 0):
        return "no tensor cores for TF32 and bfloat16"
    if hopper and not caps.simulated and caps.compute_capability != (9, 0):
        return "no wgmma instructions"
    return None


def name_of(bfloat16: bool, hopper: bool = False) -> str:
    """Of an implementation."""
    return ("wgmma_" if hopper else "mma_") + ("bfloat16" if bfloat16 else "tf32")


def rtol_of(bfloat16: bool, hopper: bool = False) -> float:
    """Of an implementation. TF32 keeps 10 of 23 bits of the mantissa: of short sums 3e-4 to 6e-4
    of the largest result are usual if both operands are rounded, 5e-4 to 9e-4 if one is cut off.
    """
    return 1.0 if bfloat16 else 200.0 if hopper else 100.0


def too_long(*sizes: int) -> str | None:
    return "more elements than int32 counts" if max(sizes) >= INDEX_LIMIT else None


def flat(array: Any) -> Any:
    return array if array.ndim == 1 else array.reshape(array.size)


@jit.device
def quotient(a, b):
    """a // b of numbers that are not negative, by 32-bit arithmetic: Numba's is of 64 bits."""
    return int32(uint32(a) // uint32(b))
