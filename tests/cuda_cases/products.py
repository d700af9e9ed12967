"""Convolutions in all geometries, and matrix products with all options."""

import dataclasses

from cuda_cases.case import Case, normal
from references import conv as reference

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.dense import Matmul

# name, x, w, attributes
GEOMETRIES = [
    ("valid", (2, 5, 6, 2), (3, 2, 2, 3), {}),
    ("same", (1, 4, 5, 2), (3, 3, 2, 2), {"padding": "same"}),
    ("strided", (1, 7, 6, 1), (3, 2, 1, 2), {"strides": (2, 3), "padding": "same"}),
    ("dilated", (1, 7, 6, 1), (3, 2, 1, 2), {"dilation": (2, 3)}),
    ("asymmetric", (1, 4, 4, 1), (2, 3, 1, 2), {"padding": ((2, 0), (1, 3)), "strides": (1, 2)}),
    ("grouped", (1, 4, 4, 4), (2, 2, 2, 6), {"groups": 2}),
    ("depthwise", (1, 4, 4, 3), (3, 3, 1, 6), {"groups": 3, "padding": "same"}),
    ("pointwise", (2, 2, 3, 4), (1, 1, 4, 3), {}),
    ("no_images", (0, 4, 4, 2), (3, 3, 2, 2), {}),
]


def convolutions():
    for name, x_shape, w_shape, attributes in GEOMETRIES:
        x, w, b = normal(*x_shape), normal(*w_shape, seed=1), normal(w_shape[3], seed=2)
        for act in range(4):
            if act == 0 or name in ("valid", "grouped"):
                yield Case(
                    f"conv2d-{name}-{act}", Conv2D(**attributes, bias=act > 0, act=act),
                    (x, w, b) if act else (x, w), lambda s, *a: [reference.conv2d(s, *a)],
                )  # fmt: skip
        s = Conv2D(**attributes).geometry(x_shape, w_shape)
        dy = normal(s.n, s.oh, s.ow, s.f, seed=3)
        dx = Conv2DInputGradient(**attributes, shape=x_shape)
        yield Case(f"conv2d_dx-{name}", dx, (dy, w), lambda s, *a: [reference.conv2d_dx(s, *a)])
        dw = Conv2DKernelGradient(**attributes, shape=w_shape)
        yield Case(f"conv2d_dw-{name}", dw, (x, dy), lambda s, *a: [reference.conv2d_dw(s, *a)])
        both = dataclasses.replace(dw, bias=True)
        yield Case(f"conv2d_dw-{name}-bias", both, (x, dy), reference.conv2d_dw)


def products():
    def case(name, op, *inputs):
        return Case(f"matmul-{name}", op, inputs, lambda s, *a: [reference.matmul(s, *a)])

    for tx in (False, True):
        for tw in (False, True):
            x = normal(*((3, 4) if tx else (4, 3)))
            w = normal(*((5, 3) if tw else (3, 5)), seed=1)
            yield case(f"{tx:d}{tw:d}", Matmul(tx, tw), x, w)
            stack = normal(2, *x.shape), normal(2, *w.shape, seed=1)
            yield case(f"{tx:d}{tw:d}-stack", Matmul(tx, tw), *stack)
            yield case(f"{tx:d}{tw:d}-shared-w", Matmul(tx, tw), stack[0], w)
            yield case(f"{tx:d}{tw:d}-shared-x", Matmul(tx, tw), x, stack[1])
    x, w, b = normal(4, 3), normal(3, 5, seed=1), normal(5, seed=2)
    for act in range(4):
        yield case(f"bias-{act}", Matmul(bias=True, act=act), x, w, b)
    for name, rows, summed in (("no_rows", 0, 3), ("no_sum", 4, 0)):
        empty = (normal(rows, summed), normal(summed, 5))
        yield Case(f"matmul-{name}", Matmul(), empty, lambda s, x, w: [x @ w])


CASES = [*convolutions(), *products()]
