"""Products that may round their operands to bfloat16, large enough for kernels that do. The numbers
are such that rounding does not change them, so the references know nothing of it.
"""

from cases.case import Case, Draw, values
from cases.conv import POOLS, Geometry, row

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.conv_spec import RELU, TAIL_ACTIVATIONS
from nbcnn.ops.dense import Matmul

SIGMOID, TANH = TAIL_ACTIVATIONS["sigmoid"], TAIL_ACTIVATIONS["tanh"]

CONVOLUTIONS = [
    row("odd_channels", (2, 57, 59, 9), (5, 5, 9, 17), padding="same"),
    row("even_channels", (2, 60, 61, 8), (5, 5, 8, 34), act=TANH),
    row("strided", (2, 75, 73, 5), (7, 7, 5, 70), 2, "same", act=SIGMOID),
    row("stride_beyond_kernel", (5, 90, 92, 30), (3, 3, 30, 801), (3, 4)),
    row("dilated", (2, 65, 66, 7), (3, 3, 7, 90), padding="same", dilation=(2, 3)),
    row("groups", (2, 41, 43, 36), (5, 5, 12, 36), padding="same", groups=3),
    row("pointwise", (1, 51, 53, 38), (1, 1, 38, 301)),
    row("row", (1, 43, 44, 39), (1, 9, 39, 40), padding=((0, 0), (5, 2))),
    row("crop", (3, 58, 57, 9), (5, 5, 9, 18), padding=((-2, 1), (1, -1))),
]


def coarse(*shape: int, seed: int = 0) -> Draw:
    return Draw(shape, seed, coarse=True)


def case(name: str, op, *inputs) -> Case:
    return Case(f"bfloat16-{name}", op, inputs, tiny=False, floats=("float32",))


def products():
    for tx, tw in ((False, False), (False, True), (True, False), (True, True)):
        for m, n, k in ((401, 403, 157), (1000, 257, 100)):
            x, w = coarse(*((k, m) if tx else (m, k))), coarse(*((n, k) if tw else (k, n)), seed=1)
            yield case(f"matmul-{m}x{n}x{k}-{tx:d}{tw:d}", Matmul(tx, tw, bfloat16=True), x, w)
    for name, act in TAIL_ACTIVATIONS.items():
        small = values(coarse(157, 403, seed=1)) / 16  # a power of two: still a bfloat16
        op = Matmul(bias=True, act=act, bfloat16=True)
        yield case(f"matmul-{name}", op, coarse(401, 157), small, Draw((403,), 2))
    stack = coarse(2, 401, 81), coarse(2, 81, 403, seed=1)
    yield case("matmul-stack", Matmul(bfloat16=True), *stack)
    yield case("matmul-shared_x", Matmul(bfloat16=True), coarse(500, 81), stack[1])


def convolutions(g: Geometry):
    attributes = {**g.attributes, "bfloat16": True}
    s = Conv2D(**attributes).geometry(g.x, g.w)
    x, w, dy = coarse(*g.x), coarse(*g.w, seed=1), coarse(s.n, s.oh, s.ow, s.f, seed=3)
    yield case(f"conv2d-{g.name}", Conv2D(**attributes), x, w)
    bias = Conv2D(**attributes, bias=True, act=g.act)
    yield case(f"conv2d-{g.name}-bias", bias, x, w, Draw(g.w[3:], 2))
    yield case(f"conv2d_dx-{g.name}", Conv2DInputGradient(**attributes, shape=g.x), dy, w)


def pools():
    """And a NaN and an infinity."""
    x = values(coarse(2, 57, 59, 9))
    x[1, 3, 2, 3], x[0, 0, 7, 8] = float("nan"), float("inf")
    inputs = x, coarse(5, 5, 9, 17, seed=1), Draw((17,), 2)
    for name, pool in POOLS.items():
        tail = {"pool": pool, "ph": 2, "pw": 3}
        op = Conv2D(padding="same", bias=True, act=RELU, bfloat16=True, **tail)
        yield case(f"conv2d-{name}", op, *inputs)


def weight_gradients():
    """Of pointwise convolutions; others are computed in float32."""
    x, dy = coarse(1, 13, 15, 405), coarse(1, 13, 15, 403, seed=3)
    op = Conv2DKernelGradient(bfloat16=True, shape=(1, 1, 405, 403))
    yield case("conv2d_dw-pointwise", op, x, dy)


CASES = [
    *products(),
    *(one for g in CONVOLUTIONS for one in convolutions(g)),
    *pools(),
    *weight_gradients(),
]
