"""What must be in the machine code of kernels for tensor cores, on which architectures.

    python -m cuda_cases.codegen 0 2

compiles of every two rows of the table the first and prints JSON: for each what is wrong with it,
or nothing. No GPU is needed.
"""

import json
import sys
import traceback
from typing import Any, NamedTuple

from nbcnn.kernels.cuda import mma_columns, mma_pack, mma_rows, mma_tiles
from nbcnn.kernels.cuda.compiling import Architecture, Code, compiled
from nbcnn.kernels.cuda.disassembly import instructions
from nbcnn.ops.conv_spec import LINEAR, RELU, SIGMOID, TANH

# One kernel is compiled for all, others for those that differ most: a compilation takes seconds.
ALL = ((8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
MAIN = {False: ALL, True: ((8, 0), (12, 0))}
SUMS = {False: ((8, 0), (9, 0)), True: ((8, 6), (10, 0))}
ONE = ((9, 0),)
POINTER, INTEGER = "float32*", "int64"
COPIES, MATRICES = "LDGSTS.E.BYPASS.128", "LDSM.16.M88.4"
PRODUCT = {False: "HMMA.1688.F32.TF32", True: "HMMA.16816.F32.BF16"}


class Row(NamedTuple):
    """A kernel, its arguments' types, and the most registers that its blocks can have; beginnings
    of names of instructions that must be there.
    """

    name: str
    kernel: Any
    arguments: tuple
    registers: int
    instructions: tuple[str, ...]
    architectures: tuple


def spec_of(kind: Any) -> Any:
    """The kind of a spec: all its fields are integers."""
    return (kind, *[INTEGER] * len(kind._fields))


def most_registers(threads: int) -> int:
    """So that as many blocks as are meant to run side by side find room."""
    return min(255, 65536 // (threads * mma_tiles.BLOCKS) // 8 * 8)


def rows_of_rows():
    arguments = spec_of(mma_rows.Rows), POINTER, POINTER, POINTER, POINTER
    variants = [(tile, half, True, RELU) for tile in mma_tiles.TILES for half in (False, True)]
    large = mma_tiles.TILES[0]
    variants += [(large, False, False, LINEAR), (large, False, True, SIGMOID)]
    variants += [(large, True, True, TANH)]
    for tile, half, exact, act in variants:
        main = tile == large and act == RELU
        yield Row(
            f"mma_rows {tile.rows}x{tile.columns} bfloat16={half} exact_w={exact} act={act}",
            mma_rows.rows_kernel(tile, half, exact, act),
            arguments,
            most_registers(tile.threads),
            (PRODUCT[half], COPIES, MATRICES, "STG.E.128", "STS.64", "LDS.128"),
            MAIN[half] if main else ONE,
        )


def rows_of_hopper():
    arguments = spec_of(mma_rows.Rows), POINTER, POINTER, POINTER, POINTER
    for tile in mma_tiles.HOPPER_TILES:
        for half in (False, True):
            product = f"HGMMA.64x{tile.columns}x{16 if half else 8}.F32"
            yield Row(
                f"mma_rows wgmma {tile.rows}x{tile.columns} bfloat16={half}",
                mma_rows.rows_kernel(tile, half, True, RELU),
                arguments,
                most_registers(tile.threads),
                (product, COPIES, "STG.E.128", "WARPGROUP.ARRIVE"),
                ((9, 0, "a"),),
            )


def rows_of_columns():
    arguments = spec_of(mma_columns.Columns), POINTER, POINTER, POINTER
    for half, tiles in mma_columns.TILES.items():
        for tile in tiles:
            yield Row(
                f"mma_columns {tile.rows}x{tile.columns}x{tile.depth} bfloat16={half}",
                mma_columns.columns_kernel(tile),
                arguments,
                most_registers(tile.threads),
                (PRODUCT[half], COPIES, "LDSM.16.MT88.4" if half else "LDS", "STG.E.128"),
                SUMS[half] if tile == tiles[0] else ONE,
            )


def rows_of_passes():
    packing = (spec_of(mma_pack.Weights), INTEGER, POINTER, POINTER)
    halving = (INTEGER, INTEGER, POINTER, POINTER)
    for kernel, arguments, wanted in (
        (mma_pack.pack_tf32, packing, ()),
        (mma_pack.pack_bf16, packing, ("F2FP.BF16",)),
        (mma_pack.pad_kernel, halving, ()),
        (mma_pack.halve_kernel, halving, ("F2FP.BF16", "LDG.E.128", "STG.E.128")),
    ):
        name = kernel.py_func.__name__
        yield Row(name, kernel, arguments, 64, wanted, ((8, 0),))


TABLE = [*rows_of_rows(), *rows_of_hopper(), *rows_of_columns(), *rows_of_passes()]
CASES = [(row, target) for row in TABLE for target in row.architectures]


def name_of(row: Row, target: tuple) -> str:
    return f"{row.name} sm_{''.join(map(str, target))}"


def wrong_with(row: Row, code: Code) -> str:
    found = instructions(code.cubin)
    # The assembler makes wgmma instructions wait for each other where it cannot follow their sums.
    serial = "serialized" in code.log
    absent = [w for w in row.instructions if not any(f.startswith(w) for f in found)]
    local = sorted({f for f in found if f.startswith(("LDL", "STL"))})
    reasons = [
        f"no {absent}" * bool(absent),
        "wgmma instructions wait for each other" * serial,
        f"local memory: {local}" * bool(local),
        f"{code.spilled} bytes spilled" * bool(code.spilled),
        f"{code.registers} registers" * (code.registers > row.registers),
    ]
    return ", ".join(filter(None, reasons))


def main() -> None:
    share, shares = map(int, sys.argv[1:])
    results = {}
    for row, target in CASES[share::shares]:
        try:
            code = compiled(row.kernel, row.arguments, Architecture(*target))
            results[name_of(row, target)] = wrong_with(row, code)
        except Exception:
            results[name_of(row, target)] = traceback.format_exc()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
