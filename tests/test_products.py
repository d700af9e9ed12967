"""Every CPU implementation of convolution and matrix product against its float64 definition."""

import numpy as np
import pytest
from cases.conv import CONVOLUTIONS, MATMULS, conv
from kernel_runner import error, run
from references import conv as reference

from nbcnn.kernels.cpu.lists import IMPLS
from nbcnn.runtime.cpu import CpuDevice

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
CAPS = CpuDevice(1).caps


def of_op(op, spec):
    """The spec as this op sees it: gradients have no activation, the input's no bias."""
    return spec._replace(**{"conv2d": {}, "conv2d_dw": {"act": 0}}.get(op, {"act": 0, "bias": 0}))


def accepted(cases, *ops):
    """A parameter per (op, case, implementation, dtype) that the implementation accepts."""
    return [
        pytest.param(op, of_op(op, spec), impl, dtype, id=f"{op}-{name}-{dtype}-{impl.name}")
        for op in ops
        for name, spec in cases.items()
        for dtype in TOLERANCE
        for impl in IMPLS[op]
        if impl.accepts(of_op(op, spec), dtype, CAPS) is None
    ]


def numbers(*shape):
    """Normal numbers that float32 holds exactly."""
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def conv_arrays(s):
    """x, w, b, dy."""
    return (
        numbers(s.n, s.h, s.w, s.c), numbers(s.kh, s.kw, s.c // s.groups, s.f), numbers(s.f),
        numbers(s.n, s.oh, s.ow, s.f),
    )  # fmt: skip


def check(impl, spec, dtype, inputs, references):
    """Right within the tolerance, and the same bits at one and at two threads."""
    inputs = [np.ascontiguousarray(x, dtype) for x in inputs]
    shapes = [r.shape for r in references]
    one, two = (run(impl, spec, inputs, shapes, threads) for threads in (1, 2))
    for result, again, expected in zip(one, two, references, strict=True):
        assert error(result, expected) <= TOLERANCE[dtype] * impl.rtol
        assert np.array_equal(result, again)


@pytest.mark.parametrize(
    ("op", "spec", "impl", "dtype"), accepted(CONVOLUTIONS, "conv2d", "conv2d_dx", "conv2d_dw")
)
def test_convolution(op, spec, impl, dtype):
    x, w, b, dy = conv_arrays(spec)
    if op == "conv2d":
        bias = (b,) if spec.bias else ()
        check(impl, spec, dtype, (x, w, *bias), [reference.conv2d(spec, x, w, *bias)])
    elif op == "conv2d_dx":
        check(impl, spec, dtype, (dy, w), [reference.conv2d_dx(spec, dy, w)])
    else:
        gradients = reference.conv2d_dw(spec, x, dy)
        check(impl, spec, dtype, (x, dy), gradients if spec.bias else [gradients])


@pytest.mark.parametrize(("op", "spec", "impl", "dtype"), accepted(MATMULS, "matmul"))
def test_matmul(op, spec, impl, dtype):
    s = spec
    x = numbers(s.batch if s.xb else 1, *((s.k, s.m) if s.tx else (s.m, s.k)))
    w = numbers(s.batch if s.wb else 1, *((s.n, s.k) if s.tw else (s.k, s.n)))
    bias = (numbers(s.n),) if s.bias else ()
    check(impl, spec, dtype, (x, w, *bias), [reference.matmul(spec, x, w, *bias)])


@pytest.mark.parametrize("op", ["conv2d", "conv2d_dx", "conv2d_dw", "matmul"])
def test_every_implementation_has_a_case(op):
    cases = MATMULS if op == "matmul" else CONVOLUTIONS
    names = {parameter.values[2].name for parameter in accepted(cases, op)}
    assert names == {impl.name for impl in IMPLS[op]}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_reference_gradients(name):
    """The references are adjoint: <y(x, w), dy> = <x, dx(dy, w)> = <w, dw(x, dy)>."""
    spec = CONVOLUTIONS[name]._replace(bias=0, act=0)
    x, w, _, dy = (a.astype(np.float64) for a in conv_arrays(spec))
    forward = np.vdot(reference.conv2d(spec, x, w), dy)
    size = np.linalg.norm(dy) * np.linalg.norm(x) * np.linalg.norm(w)
    assert abs(np.vdot(reference.conv2d_dx(spec, dy, w), x) - forward) <= 1e-12 * size
    assert abs(np.vdot(reference.conv2d_dw(spec, x, dy), w) - forward) <= 1e-12 * size


def test_reference_forward():
    """A worked example: [[0..8]] with kernel [[0, 1], [2, 3]]."""
    spec = conv(1, 3, 3, 1, 1, (2, 2))
    y = reference.conv2d(spec, np.arange(9.0), np.arange(4.0))
    assert y.ravel().tolist() == [19, 25, 37, 43]
