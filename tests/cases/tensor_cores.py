"""Convolutions and products for tensor cores, small enough for CUDA's simulator: more than a tile,
sizes beside its edges, sums that are no whole lines. For TF32, and with operands that bfloat16 has,
so that the references know nothing of rounding.
"""

from cases.case import Case, Draw
from cases.conv import Geometry, row

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.conv_spec import RELU, TAIL_ACTIVATIONS
from nbcnn.ops.dense import Matmul

SIGMOID, TANH = TAIL_ACTIVATIONS["sigmoid"], TAIL_ACTIVATIONS["tanh"]

CONVOLUTIONS = [
    row("odd_sizes", (2, 3, 5, 4), (3, 3, 4, 35), padding="same"),
    row("valid", (1, 5, 4, 12), (2, 3, 12, 4), act=SIGMOID),
    row("strided", (1, 7, 6, 8), (3, 2, 8, 4), 2, "same", act=TANH),
    row("stride_beyond_kernel", (1, 7, 7, 4), (1, 1, 4, 8), (2, 3)),
    row("dilated", (1, 6, 7, 4), (2, 3, 4, 8), 1, ((1, 2), (2, 0)), (2, 3)),
    row("stride_and_dilation", (1, 8, 9, 4), (3, 2, 4, 4), (2, 3), ((3, 2), (1, 4)), (3, 2)),
    row("pointwise", (1, 3, 6, 40), (1, 1, 40, 36)),
    row("crop", (1, 6, 5, 4), (3, 2, 4, 4), padding=((-1, 1), (2, -1))),
]
PADDED = [row("odd_channels", (1, 4, 5, 5), (3, 2, 5, 3), 2, "same")]


def case(name: str, op, *inputs) -> Case:
    return Case(f"cores-{name}", op, inputs, floats=("float32",))


def convolutions(g: Geometry, rounds: bool):
    attributes = {**g.attributes, "bfloat16": rounds}
    kind = "bfloat16-" if rounds else ""
    s = Conv2D(**attributes).geometry(g.x, g.w)
    x, w = Draw(g.x, 0, rounds), Draw(g.w, 1, rounds)
    dy = Draw((s.n, s.oh, s.ow, s.f), 3, rounds)
    op = Conv2D(**attributes, bias=True, act=g.act)
    yield case(f"{kind}conv2d-{g.name}", op, x, w, Draw(g.w[3:], 2))
    yield case(f"{kind}conv2d_dx-{g.name}", Conv2DInputGradient(**attributes, shape=g.x), dy, w)
    op = Conv2DKernelGradient(**attributes, shape=g.w, bias=g.act == RELU)
    yield case(f"{kind}conv2d_dw-{g.name}", op, x, dy)


def products(rounds: bool):
    """m, n, k; stacks of matrices, which x or w may share."""
    kind = "bfloat16-" if rounds else ""
    for m, n, k, tx, tw in [
        (17, 36, 20, 0, 0),
        (5, 9, 8, 0, 1),
        (5, 9, 7, 0, 1),
        (36, 9, 37, 1, 0),
    ]:
        x, w = Draw((k, m) if tx else (m, k), 0, rounds), Draw((n, k) if tw else (k, n), 1, rounds)
        op = Matmul(bool(tx), bool(tw), bfloat16=rounds)
        yield case(f"{kind}matmul-{m}x{n}x{k}-{tx}{tw}", op, x, w)
    op = Matmul(bias=True, act=TANH, bfloat16=rounds)
    inputs = Draw((3, 8), 0, rounds), Draw((8, 6), 1, rounds), Draw((6,), 2)
    yield case(f"{kind}matmul-bias", op, *inputs)
    for tx in (False, True):
        one, two = Draw((8, 4), 0, rounds), Draw((2, 8, 4), 1, rounds)
        turned = Draw((4, 8), 2, rounds)
        x, w = (two, one) if tx else (turned, two)
        yield case(f"{kind}matmul-stack-{tx:d}", Matmul(tx, False, bfloat16=rounds), x, w)


CASES = [
    *(one for g in CONVOLUTIONS + PADDED for one in convolutions(g, False)),
    *products(False),
    *(one for g in CONVOLUTIONS[:3] + PADDED for one in convolutions(g, True)),
    *products(True),
]
