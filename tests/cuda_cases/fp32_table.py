"""What must be in the machine code of the kernels in true float32, on which architectures.

    python -m cuda_cases.fp32_table 0 2

compiles every second and prints JSON: for each what is wrong with it, or nothing. No GPU is needed.
"""

import json
import sys
import traceback
from typing import Any, NamedTuple

from cuda_cases.compile import Shape

from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels.cuda import lists, tiles
from nbcnn.kernels.cuda.call import Caps, Launch
from nbcnn.kernels.cuda.compiling import Architecture, compiled
from nbcnn.kernels.cuda.disassembly import instructions
from nbcnn.kernels.cuda.packing import kinds_of
from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.conv_spec import RELU, SIGMOID
from nbcnn.ops.dense import Matmul
from nbcnn.ops.tensor import TensorSpec

ALL, ONE = ((8, 0), (9, 0), (12, 0)), ((9, 0),)
REGISTERS = 65536  # of a multiprocessor
# Of all tiled products; with operands in words of 128 bits; that write words.
PRODUCT = ("LDS.128", "FFMA", "BAR")
WORDS = (*PRODUCT, "LDG.E.128", "STG.E.128")
MOVED = ("LDG.E.128", "STG.E.128", "FFMA")


class Row(NamedTuple):
    """An operation on inputs of these shapes, the implementation that is meant to take it, how many
    blocks of its first kernel a multiprocessor must have registers for, and beginnings of names of
    instructions that must be in that.
    """

    name: str
    op: Any
    shapes: tuple
    impl: str
    blocks: int
    instructions: tuple[str, ...]
    architectures: tuple = ONE


def products():
    large, square = (4096, 4096), tiles.LARGE.resident
    bias = Matmul(bias=True, act=RELU)
    yield Row("128x128", bias, (large, large, (4096,)), "tiled", square, WORDS, ALL)
    yield Row("128x128 tx", Matmul(tx=True), (large, large), "tiled", square, WORDS)
    yield Row("128x128 tw", Matmul(tw=True), (large, large), "tiled", square, WORDS)
    odd = (4095, 4095)
    yield Row("128x128 odd", Matmul(), (odd, odd), "tiled", square, PRODUCT)
    tall = (65536, 512), (512, 64)
    yield Row("128x64", Matmul(), tall, "tiled", tiles.TALL.resident, WORDS)
    narrow = (65536, 512), (512, 32)
    yield Row("128x32", Matmul(), narrow, "tiled", tiles.NARROW.resident, WORDS)
    small = (512, 512), (512, 512), (512,)
    curved = Matmul(bias=True, act=SIGMOID)
    yield Row("64x64 sigmoid", curved, small, "tiled", tiles.SMALL.resident, PRODUCT)


def convolutions():
    x, w, y = (64, 28, 28, 128), (3, 3, 128, 128), (64, 28, 28, 128)
    same = {"padding": "same"}
    square, small = tiles.LARGE.resident, tiles.SMALL.resident
    forward = Conv2D(**same, bias=True, act=RELU)
    yield Row("forward", forward, (x, w, w[3:]), "implicit", square, WORDS, ALL)
    dx = Conv2DInputGradient(**same, shape=x)
    yield Row("data gradient", dx, (y, w), "implicit", square, WORDS, ALL)
    strided = Conv2DInputGradient(strides=(2, 2), shape=(64, 57, 57, 128))
    yield Row("data gradient, strides", strided, (y, w), "implicit", square, WORDS)
    dw = Conv2DKernelGradient(**same, shape=w)
    yield Row("weight gradient", dw, (x, y), "implicit", small, WORDS, ALL)
    odd = (64, 28, 28, 127), (3, 3, 127, 127)
    yield Row("forward, odd channels", Conv2D(**same), odd, "implicit", square, PRODUCT)
    yield Row("im2col", Conv2D(**same), (x, w), "im2col", 4, MOVED[:2])


def few_channels():
    same, image = {"padding": "same"}, (32, 224, 224, 3)
    first = Conv2D(**same, strides=(2, 2), bias=True, act=RELU)
    shapes = image, (7, 7, 3, 64), (64,)
    yield Row("first layer", first, shapes, "direct", 2, MOVED)
    into_image = Conv2DInputGradient(**same, shape=image)
    shapes = (32, 224, 224, 64), (3, 3, 3, 64)
    yield Row("into the image", into_image, shapes, "direct", 2, ("LDG.E.128", "FFMA"))


def depthwise():
    x = (64, 28, 28, 128)
    attributes = {"padding": "same", "groups": 128}
    for size in (3, 5, 7):
        w, name = (size, size, 1, 128), f"depthwise {size}x{size}"
        forward = Conv2D(**attributes, bias=True, act=RELU)
        yield Row(f"{name}", forward, (x, w, w[3:]), "depthwise", 2, MOVED)
        into_w = Conv2DKernelGradient(**attributes, shape=w)
        wanted = ("LDG.E.128", "FFMA", "BAR")
        yield Row(f"{name}, weight gradient", into_w, (x, x), "depthwise", 4, wanted)
    into_x = Conv2DInputGradient(**attributes, strides=(2, 2), shape=(64, 56, 56, 128))
    shapes = (64, 28, 28, 128), (3, 3, 1, 128)
    yield Row("depthwise, data gradient, strides", into_x, shapes, "depthwise", 2, MOVED)


TABLE = [*products(), *convolutions(), *few_channels(), *depthwise()]
CASES = [(row, target) for row in TABLE for target in row.architectures]


def first_launch(row: Row, caps: Caps) -> Launch:
    specs = [TensorSpec(shape, "float32") for shape in row.shapes]
    spec, dtype = row.op.spec(*specs), main_dtype(row.op, specs)
    impl = next(i for i in lists.impls(row.op) if i.name == row.impl)
    refused = impl.accepts(spec, dtype, caps)
    if refused is not None:
        raise ValueError(f"{row.impl} refuses: {refused}")
    inputs, outputs, scratch = (
        [Shape(s.shape, s.dtype) for s in group]
        for group in (specs, row.op.infer(*specs), impl.scratch(spec, dtype, caps).values())
    )
    names = impl.scratch(spec, dtype, caps)
    return impl.bind(spec, caps, inputs, outputs, dict(zip(names, scratch)))[0]


def wrong_with(row: Row, target: tuple) -> str:
    call = first_launch(row, Caps(132, target))
    code = compiled(call.kernel, kinds_of(call.args), Architecture(*target))
    found = instructions(code.cubin)
    most = min(255, REGISTERS // (call.block * row.blocks) // 8 * 8)
    absent = [w for w in row.instructions if not any(f.startswith(w) for f in found)]
    local = sorted({f for f in found if f.startswith(("LDL", "STL"))})
    reasons = [
        f"no {absent}" if absent else "",
        f"{code.registers} registers, at most {most} are meant" if code.registers > most else "",
        f"{code.spilled} bytes spilled" if code.spilled else "",
        f"arrays in local memory: {local}" if local else "",
    ]
    return ", ".join(filter(None, reasons))


def main() -> None:
    share, shares = map(int, sys.argv[1:])
    results = {}
    for row, target in CASES[share::shares]:
        try:
            wrong = wrong_with(row, target)
        except Exception:
            wrong = traceback.format_exc()
        results[f"{row.name} sm_{''.join(map(str, target))}"] = wrong
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
