"""Matrix products and direct convolution: right values, and not a byte read or written outside
their arrays.
"""

import guard
import kernel_runner
import numpy as np
import pytest
from references import conv as reference

from nbcnn.kernels.cpu import (
    conv_direct,
    conv_direct_dw,
    conv_gather_dw,
    conv_winograd,
    conv_winograd_dw,
    gemm,
)
from nbcnn.ops.conv import window_output
from nbcnn.ops.conv_spec import RELU, SIGMOID, TANH, Conv2DSpec, MatmulSpec

pytestmark = pytest.mark.skipif(not guard.available, reason="needs mprotect")
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def conv_spec(
    n, h, w, c, f, kh, kw, padding="same", strides=(1, 1), dilation=(1, 1), groups=1, bias=0, act=0
) -> Conv2DSpec:
    sides = (padding,) * 2 if isinstance(padding, str) else padding
    oh, pt, _ = window_output(h, kh, strides[0], sides[0], dilation[0])
    ow, pl, _ = window_output(w, kw, strides[1], sides[1], dilation[1])
    return Conv2DSpec(n, h, w, c, f, kh, kw, groups, oh, ow, *strides, *dilation, pt, pl, bias, act)


CONVOLUTIONS = {
    "plain": conv_spec(2, 8, 8, 16, 32, 3, 3),
    "odd": conv_spec(3, 17, 13, 5, 7, 3, 3, bias=1, act=RELU),
    "strided": conv_spec(2, 9, 11, 3, 20, 5, 5, strides=(2, 2), bias=1, act=SIGMOID),
    "dilated": conv_spec(2, 12, 10, 4, 33, 3, 2, dilation=(2, 3), bias=1, act=TANH),
    "groups": conv_spec(2, 8, 8, 24, 36, 3, 3, groups=2, strides=(2, 1), dilation=(1, 2), bias=1),
    "one-channel": conv_spec(1, 7, 7, 1, 6, 5, 5, bias=1, act=RELU),
    "one-filter": conv_spec(2, 7, 5, 9, 1, 3, 3, bias=1),
    "pointwise": conv_spec(5, 6, 6, 3, 4, 1, 1),
    "pointwise-strided": conv_spec(5, 7, 6, 3, 40, 1, 1, strides=(2, 2)),
    "stride-over-kernel": conv_spec(2, 11, 9, 3, 8, 1, 2, "valid", strides=(3, 3)),
    "asymmetric": conv_spec(2, 11, 9, 3, 8, 3, 3, ((2, 1), (0, 3)), strides=(3, 2)),
    "cropped": conv_spec(2, 11, 9, 3, 8, 3, 3, ((-1, 2), (1, -2)), bias=1),
    "many-small": conv_spec(40, 5, 5, 6, 16, 5, 5, "valid", bias=1),
    "deep": conv_spec(1, 5, 5, 700, 20, 1, 1, bias=1),
    "wide": conv_spec(2, 9, 8, 200, 70, 3, 3),
    "wide-strided": conv_spec(5, 19, 18, 133, 20, 3, 3, strides=(2, 2), bias=1),
    "wide-sparse": conv_spec(3, 14, 13, 129, 9, 2, 1, "valid", strides=(3, 3), bias=1),
    "wide-chunks": conv_spec(1, 41, 40, 170, 8, 3, 3, strides=(2, 2), bias=1),
    "row-blocks": conv_spec(1, 41, 40, 16, 16, 3, 3, bias=1),
    "one-pixel": conv_spec(1, 1, 1, 1, 1, 1, 1, bias=1),
}  # fmt: skip

TILED = {
    "odd": conv_spec(5, 7, 7, 20, 35, 3, 3, bias=1, act=RELU),
    "valid": conv_spec(2, 15, 13, 33, 18, 3, 3, "valid", bias=1),
    "uneven": conv_spec(2, 13, 14, 70, 16, 3, 3, ((2, 1), (0, 3)), bias=1),
    "crop": conv_spec(3, 17, 18, 33, 24, 3, 3, ((-2, 1), (1, -1)), bias=1, act=RELU),
    "one-image": conv_spec(1, 16, 13, 64, 80, 3, 3, bias=1),
    "one-filter": conv_spec(16, 4, 4, 64, 1, 3, 3, bias=1),
    "5x5": conv_spec(3, 14, 13, 18, 35, 5, 5, bias=1, act=RELU),
    "5x3": conv_spec(2, 17, 14, 33, 20, 5, 3, ((3, 0), (-1, 2)), bias=1),
    "row": conv_spec(3, 8, 19, 33, 35, 1, 7, bias=1),
    "column": conv_spec(3, 19, 8, 70, 18, 7, 1, bias=1),
    "deep": conv_spec(1, 13, 15, 150, 135, 3, 3, bias=1, act=RELU),
    "dilated": conv_spec(3, 17, 19, 20, 35, 3, 3, bias=1)._replace(dilh=2, dilw=3, pt=2, pl=3),
}  # fmt: skip

PRODUCTS = [
    (3, 1, 1),
    (8, 32, 16),
    (7, 33, 19),
    (17, 10, 84),
    (10, 33, 21),
    (128, 120, 400),
    (5, 65, 700),
    (64, 64, 3000),
    (130, 200, 512),
]


def random(*shape, dtype):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def check(impl, spec, inputs, expected):
    for at_end in (True, False):
        results = guard.run(impl, spec, inputs, [e.shape for e in expected], at_end)
        for result, right in zip(results, expected):
            assert kernel_runner.error(result, right) < TOLERANCE[inputs[0].dtype.name]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=CONVOLUTIONS)
def spec(request):
    return CONVOLUTIONS[request.param]


def arrays(s: Conv2DSpec, dtype):
    """(x, w, b, dy), scaled such that y is about 1."""
    x, b = random(s.n, s.h, s.w, s.c, dtype=dtype), random(s.f, dtype=dtype)
    terms = s.kh * s.kw * s.c // s.groups
    w = random(s.kh, s.kw, s.c // s.groups, s.f, dtype=dtype) / np.sqrt(terms, dtype=dtype)
    return x, w, b, random(s.n, s.oh, s.ow, s.f, dtype=dtype)


def test_conv2d(spec, dtype):
    x, w, b, _ = arrays(spec, dtype)
    inputs = [x, w, b] if spec.bias else [x, w]
    check(conv_direct.conv2d, spec, inputs, [reference.conv2d(spec, *inputs)])


def test_conv2d_dx(spec, dtype):
    x, w, _, dy = arrays(spec, dtype)
    spec = spec._replace(bias=0, act=0)
    if conv_direct.dx.accepts(spec, dtype, guard.CpuDevice(2).caps):
        pytest.skip("refused")
    check(conv_direct.dx, spec, [dy, w], [reference.conv2d_dx(spec, dy, w).reshape(x.shape)])


def test_conv2d_dw(spec, dtype):
    x, w, _, dy = arrays(spec, dtype)
    spec = spec._replace(act=0)
    expected = reference.conv2d_dw(spec, x, dy)
    expected = list(expected) if spec.bias else [expected]
    for impl in (conv_direct_dw.dw, conv_gather_dw.dw):
        if impl.accepts(spec, dtype, guard.CpuDevice(2).caps) is None:
            check(impl, spec, [x, dy], [expected[0].reshape(w.shape), *expected[1:]])


@pytest.mark.parametrize("name", TILED)
def test_winograd(name):
    s = TILED[name]
    x, w, b, dy = arrays(s, "float32")
    caps, plain, last = guard.CpuDevice(2).caps, s._replace(bias=0, act=0), s._replace(act=0)
    y = reference.conv2d(s, x, w, b)
    dx = reference.conv2d_dx(plain, dy, w).reshape(x.shape)
    dw, db = reference.conv2d_dw(last, x, dy)
    for form in (conv_winograd.conv2d, conv_winograd.conv2d_f2):
        check(form, s, [x, w, b], [y])
    for form in (conv_winograd.dx, conv_winograd.dx_f2):
        if form.accepts(plain, "float32", caps) is None:
            check(form, plain, [dy, w], [dx])
    for form in (conv_winograd_dw.dw, conv_winograd_dw.dw_f2):
        check(form, last, [x, dy], [dw.reshape(w.shape), db])


def test_winograd_is_for_float32():
    s, caps = TILED["valid"], guard.CpuDevice(2).caps
    for impl in (conv_winograd.conv2d, conv_winograd.dx, conv_winograd_dw.dw):
        assert impl.accepts(s._replace(act=0), "float32", caps) is None
        assert impl.accepts(s._replace(act=0), "float64", caps) is not None


@pytest.mark.parametrize("tx", [0, 1])
@pytest.mark.parametrize("tw", [0, 1])
@pytest.mark.parametrize("m, n, k", PRODUCTS)
def test_matmul(m, n, k, tx, tw, dtype):
    x = random(2, *((k, m) if tx else (m, k)), dtype=dtype)
    w = random(2, *((n, k) if tw else (k, n)), dtype=dtype) / np.sqrt(k, dtype=dtype)
    b = random(n, dtype=dtype)
    for batch, bias, act in ((1, 0, 0), (1, 1, RELU), (2, 1, TANH)):
        spec = MatmulSpec(m, n, k, tx, tw, batch, 1, 1, bias, act)
        inputs = [x[:batch], w[:batch], *([b] if bias else [])]
        check(gemm.gemm, spec, inputs, [reference.matmul(spec, *inputs)])


def test_matmul_shared_operand(dtype):
    x, w = random(3, 5, 7, dtype=dtype), random(1, 7, 9, dtype=dtype)
    spec = MatmulSpec(5, 9, 7, 0, 0, 3, 1, 0)
    check(gemm.gemm, spec, [x, w], [reference.matmul(spec, x, w)])


@pytest.mark.parametrize("name", ["odd", "many-small", "row-blocks", "wide-strided", "wide-chunks"])
def test_same_bits_at_any_number_of_threads(name):
    s = CONVOLUTIONS[name]._replace(act=0, bias=1)
    x, w, b, dy = arrays(s, "float32")
    jobs = [
        (conv_direct.conv2d, [x, w, b], [dy.shape]),
        (conv_direct_dw.dw, [x, dy], [w.shape, b.shape]),
    ]
    if name.startswith("wide"):
        jobs.append((conv_gather_dw.dw, [x, dy], [w.shape, b.shape]))
    for impl, inputs, shapes in jobs:
        once, again = (kernel_runner.run(impl, s, inputs, shapes, threads) for threads in (1, 2))
        for one, two in zip(once, again):
            np.testing.assert_array_equal(one, two)
