"""Convolutions in all geometries, and matrix products with all options."""

import dataclasses

from cuda_cases.case import Case, normal

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
        yield Case(f"conv2d-{name}", Conv2D(**attributes), (x, w))
        for act in range(4):
            yield Case(f"conv2d-{name}-{act}", Conv2D(**attributes, bias=True, act=act), (x, w, b))
        s = Conv2D(**attributes).geometry(x_shape, w_shape)
        dy = normal(s.n, s.oh, s.ow, s.f, seed=3)
        yield Case(f"conv2d_dx-{name}", Conv2DInputGradient(**attributes, shape=x_shape), (dy, w))
        dw = Conv2DKernelGradient(**attributes, shape=w_shape)
        yield Case(f"conv2d_dw-{name}", dw, (x, dy))
        yield Case(f"conv2d_dw-{name}-bias", dataclasses.replace(dw, bias=True), (x, dy))


def products():
    for tx in (False, True):
        for tw in (False, True):
            op, name = Matmul(tx, tw), f"matmul-{tx:d}{tw:d}"
            x = normal(*((3, 4) if tx else (4, 3)))
            w = normal(*((5, 3) if tw else (3, 5)), seed=1)
            xs, ws = normal(2, *x.shape), normal(2, *w.shape, seed=1)
            yield Case(name, op, (x, w))
            yield Case(f"{name}-stack", op, (xs, ws))
            yield Case(f"{name}-shared-w", op, (xs, w))
            yield Case(f"{name}-shared-x", op, (x, ws))
    x, w, b = normal(4, 3), normal(3, 5, seed=1), normal(5, seed=2)
    for act in range(4):
        yield Case(f"matmul-bias-{act}", Matmul(bias=True, act=act), (x, w, b))


CASES = [*convolutions(), *products()]
