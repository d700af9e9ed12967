"""The quality of kernels that are bound by memory, read in their machine code.

    python -m cuda_cases.small_table 9.0

prints JSON: for each row of the table what is wrong with its kernels, or nothing.
"""

import json
import sys
from typing import NamedTuple

from cases.case import Case, Draw
from cuda_cases.compile import launches

from nbcnn.kernels.cuda.call import Caps
from nbcnn.kernels.cuda.compiling import Architecture, compiled
from nbcnn.kernels.cuda.disassembly import instructions
from nbcnn.kernels.cuda.packing import kinds_of
from nbcnn.ops.conv_spec import RELU
from nbcnn.ops.elementwise import Binary, Unary, UnaryGradient, UnaryGradientSum
from nbcnn.ops.global_response import GlobalResponse, GlobalResponseGradient
from nbcnn.ops.layer_norm import LayerNorm, LayerNormGradient
from nbcnn.ops.loss import SoftmaxCrossEntropy, SoftmaxCrossEntropyGradient
from nbcnn.ops.norm import BatchNorm, BatchNormGradient, ScaleShift
from nbcnn.ops.norm_pool import BatchNormMaxPool, BatchNormMaxPoolGradient
from nbcnn.ops.op import Op
from nbcnn.ops.optimizer import SGD, Adam, ClipGradients, Mix, RMSprop, Update
from nbcnn.ops.pool import (
    AvgPool2D,
    AvgPool2DGradient,
    MaxPool2D,
    MaxPool2DGradient,
    Upsample2D,
)
from nbcnn.ops.random import Dropout
from nbcnn.ops.reduce import Reduce
from nbcnn.ops.shape import Concat, Transpose

MAP, SMALL, C, N, ROWS = (8, 14, 14, 64), (8, 7, 7, 64), (64,), (4096,), (50, 1000)
STATE = (2,)  # two numbers of 64 bits


class Row(NamedTuple):
    """`inputs`: shapes. `quads`: of the operation's launches, which load and store 128 bits.
    `wide`: launches that may compute in float64, which are short.
    """

    name: str
    op: Op
    inputs: tuple[tuple[int, ...], ...]
    quads: tuple[int, ...] = (0,)
    wide: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ()  # of inputs that are not float32, from the last backwards
    registers: int = 80


LINE = (C, C, C, (3, 64))  # gamma, mean, variance, line
TABLE = (
    Row("unary", Unary("relu"), (MAP,)),
    Row("unary_dx", UnaryGradient("sigmoid"), (MAP, MAP)),
    Row("unary_dx_sum", UnaryGradientSum("relu"), (MAP, MAP), wide=(1,)),
    Row("binary", Binary("add", "relu"), (MAP, MAP)),
    Row("bias", Binary("add", "relu"), (MAP, C)),
    Row("concat", Concat(3), (MAP, MAP), quads=(0, 1)),
    Row("transpose", Transpose((0, 3, 1, 2)), (MAP,), quads=()),
    Row("batchnorm", BatchNorm(1e-3, RELU, True), (MAP, C, C, MAP), (0, 2), (1,)),
    Row(
        "batchnorm_dx",
        BatchNormGradient(1e-3, RELU, True, True, True),
        (MAP, MAP, *LINE, MAP, MAP),
        quads=(0, 2),
        wide=(1,),
        registers=96,
    ),
    Row("batchnorm_maxpool", BatchNormMaxPool(1e-3, RELU), (MAP, C, C), (0, 2), (1,)),
    Row(
        "batchnorm_maxpool_dx",
        BatchNormMaxPoolGradient(1e-3, RELU),
        (MAP, SMALL, SMALL, *LINE),
        quads=(0, 2),
        wide=(1,),
        dtypes=("uint8", "float32", "float32", "float32", "float32"),
        registers=96,
    ),
    Row("scale_shift", ScaleShift(RELU), (MAP, C, C)),
    Row("layernorm", LayerNorm(), ((64, 96), (96,), (96,))),
    Row(
        "layernorm_dx",
        LayerNormGradient(),
        ((64, 96), (64, 96), (96,), (64,), (64,)),
        quads=(0, 1),
        wide=(2, 3),
    ),
    Row("global_response", GlobalResponse(), (MAP, C, C), (0, 2), (1,)),
    Row(
        "global_response_dx",
        GlobalResponseGradient(),
        (MAP, MAP, C, (8, 64)),
        quads=(0, 2),
        wide=(1, 3, 4),
    ),
    Row("maxpool2d", MaxPool2D(indices=True), (MAP,)),
    Row("maxpool2d_dx", MaxPool2DGradient(shape=MAP), (SMALL, SMALL), dtypes=("uint8",)),
    Row("avgpool2d", AvgPool2D(), (MAP,)),
    Row("avgpool2d_dx", AvgPool2DGradient(shape=MAP), (SMALL,)),
    Row("upsample2d", Upsample2D((2, 2)), (SMALL,)),
    Row("reduce", Reduce("sum", 0, 2), (MAP,), quads=(), wide=(1,)),
    Row("loss", SoftmaxCrossEntropy(), (ROWS[:1], ROWS), quads=(), dtypes=("float32", "int32")),
    Row(
        "loss_dx",
        SoftmaxCrossEntropyGradient(),
        (ROWS[:1], ROWS, ROWS[:1]),
        quads=(),
        dtypes=("float32", "float32", "int32"),
    ),
    Row("dropout", Dropout(0.5), (MAP, STATE), dtypes=("int64",)),
    Row("sgd", SGD(0.9, True, 0.1), (N, N, (4,), N), dtypes=("float32", "float64")),
    Row(
        "rmsprop",
        RMSprop(0.9, 0.9, centered=True),
        (N, N, (4,), N, N, N),
        dtypes=("float32", "float32", "float32", "float64"),
    ),
    Row("adam", Adam(), (N, N, (4,), N, N), dtypes=("float32", "float32", "float64")),
    Row("nadam", Update("nadam"), (N, N, (8,), N, N), dtypes=("float32", "float32", "float64")),
    Row("mix", Mix(0.9, 0.1), (N, N)),
    Row(
        "clip",
        ClipGradients("global_norm"),
        (N, (5,)),
        quads=(),
        wide=(1,),
        dtypes=("int64",),
    ),
)


def case_of(row: Row) -> Case:
    import numpy as np

    kinds = (*["float32"] * (len(row.inputs) - len(row.dtypes)), *reversed(row.dtypes))
    inputs = [
        Draw(shape) if kind.startswith("float") else np.zeros(shape, kind)
        for shape, kind in zip(row.inputs, kinds)
    ]
    wide = tuple(i for i, kind in enumerate(kinds) if kind == "float64")
    return Case(row.name, row.op, tuple(inputs), wide)


def fault(row: Row, place: int, call, capability: tuple[int, int]) -> str:
    """What is wrong with one launch, or nothing."""
    machine = compiled(call.kernel, kinds_of(call.args), Architecture(*capability))
    names = instructions(machine.cubin)
    double = {n for n in names if n.startswith(("DADD", "DMUL", "DFMA"))}
    local = {n for n in names if n.startswith(("LDL", "STL"))}
    if machine.spilled or local:
        return f"{machine.spilled} bytes are spilled, {local}"
    if machine.registers > row.registers:
        return f"{machine.registers} registers"
    if double and place not in row.wide:
        return f"computes in float64: {double}"
    if place in row.quads:
        for kind in ("LDG", "STG"):
            if not [n for n in names if n.startswith(kind) and ".128" in n]:
                return f"no {kind} of 128 bits"
    return ""


def main() -> None:
    capability: tuple = tuple(map(int, sys.argv[1].split(".")))
    results = {}
    for row in TABLE:
        calls = list(launches(case_of(row), "float32", Caps(132, capability)))
        faults = [fault(row, i, call, capability) for i, call in enumerate(calls)]
        results[row.name] = "; ".join(f"launch {i}: {f}" for i, f in enumerate(faults) if f)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
