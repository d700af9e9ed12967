"""Public operations on shapes that nobody thought of: the symbolic shape is the shape of the result
is the shape of NumPy's result, and so are the values.
"""

import numpy as np
import pytest
from cases.expected import difference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes_of

from nbcnn import ops
from nbcnn.ops.tensor import Tensor

FEW = settings(max_examples=60)
FLOAT = "float64"


def numbers(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def check(f, arrays, right, unknown_batch=False):
    """f on tensors without values has the right shape; f on arrays also the right values."""
    symbols = [Tensor(a.shape, a.dtype.name) for a in arrays]
    assert f(*symbols).shape == right.shape
    if unknown_batch:
        symbols[0] = Tensor((None, *arrays[0].shape[1:]), arrays[0].dtype.name)
        assert f(*symbols).shape == (None, *right.shape[1:])
    found = f(*arrays)
    assert (found.shape, found.dtype) == (right.shape, right.dtype)
    assert difference(found, right) <= (1e-10 if right.dtype.kind == "f" else 0.0)


# -- windows ------------------------------------------------------------------------------------


def small(least, most):
    return st.integers(least, most)


@st.composite
def geometries(draw, pads_below_window=False):
    """Keyword arguments of `ops.conv` and pooling, and the image's size."""
    window = draw(st.tuples(small(1, 4), small(1, 4)))
    sizes = draw(st.tuples(small(1, 11), small(1, 11)))
    strides = draw(st.tuples(small(1, 5), small(1, 5)))
    low, high = (0, min(window) - 1) if pads_below_window else (-1, 4)
    pad = st.integers(low, high)
    explicit = st.tuples(st.tuples(pad, pad), st.tuples(pad, pad))
    padding = draw(st.one_of(st.sampled_from(["valid", "same"]), explicit))
    return window, sizes, strides, padding


def explicit(padding, sizes, reach, strides):
    """(before, after) of both axes."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        return padding
    totals = [
        max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, reach, strides, strict=True)
    ]
    return tuple((t // 2, t - t // 2) for t in totals)


def windows(x, pads, reach, strides, dilation, fill=0.0):
    """(n, oh, ow, c, kh, kw): what each output sees of x between borders of `fill`."""
    around = [(max(a, 0), max(b, 0)) for a, b in pads]
    x = np.pad(x, ((0, 0), *around, (0, 0)), constant_values=fill)
    top, left = (max(-a, 0) for a, _ in pads)
    bottom, right = (size - max(-b, 0) for size, (_, b) in zip(x.shape[1:3], pads))
    x = x[:, top:bottom, left:right]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, (1, 2))
    return seen[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]


def fits(sizes, pads, reach):
    """Whether the window is not larger than the padded image."""
    return all(n + sum(p) >= r for n, p, r in zip(sizes, pads, reach, strict=True))


@FEW
@given(
    geometries(),
    st.tuples(small(1, 3), small(1, 3)),
    st.tuples(small(1, 3), small(1, 5), small(1, 9)),
    small(0, 3),
    st.sampled_from([None, "direct", "im2col"]),
)
def test_conv(geometry, dilation, channels, n, algorithm):
    window, sizes, strides, padding = geometry
    groups, cg, fg = channels
    reach = tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))
    pads = explicit(padding, sizes, reach, strides)
    x, w = numbers(n, *sizes, groups * cg), numbers(*window, cg, groups * fg, seed=1)

    def conv(x, w):
        return ops.conv(x, w, strides, padding, None, dilation, groups, algorithm)

    if not fits(sizes, pads, reach):
        for arguments in ((x, w), (Tensor(x.shape, FLOAT), Tensor(w.shape, FLOAT))):
            with pytest.raises(ValueError, match="larger than its padded input"):
                conv(*arguments)
        return
    seen = windows(x, pads, reach, strides, dilation)
    parts = [
        np.einsum(
            "nijcuv,uvcf->nijf", seen[:, :, :, g * cg : (g + 1) * cg], w[..., g * fg : (g + 1) * fg]
        )
        for g in range(groups)
    ]
    check(conv, [x, w], np.concatenate(parts, axis=-1), unknown_batch=True)


@FEW
@given(geometries(pads_below_window=True), small(1, 20), small(0, 3), st.booleans())
def test_pool(geometry, c, n, largest):
    window, sizes, strides, padding = geometry
    pads = explicit(padding, sizes, window, strides)
    x = numbers(n, *sizes, c)
    pool, fill = (ops.max_pool, -np.inf) if largest else (ops.average_pool, np.nan)
    if not fits(sizes, pads, window):
        with pytest.raises(ValueError, match="larger than its padded input"):
            pool(x, window, strides, padding)
        return
    seen = windows(x, pads, window, strides, (1, 1), fill)
    right = seen.max((4, 5)) if largest else np.nanmean(seen, (4, 5))
    check(lambda x: pool(x, window, strides, padding), [x], right, unknown_batch=True)


# -- products and broadcasting ------------------------------------------------------------------


@FEW
@given(
    small(0, 9), small(0, 33), small(0, 20), st.lists(small(1, 3), max_size=2),
    st.sampled_from(["both", "left", "right", "vector@matrix", "matrix@vector"]),
)  # fmt: skip
def test_matmul(m, n, k, lead, kind):
    left, right = (*lead, m, k), (*lead, k, n)
    if kind != "both":
        left = {"right": (m, k), "vector@matrix": (k,)}.get(kind, left)
        right = {"left": (k, n), "matrix@vector": (k,)}.get(kind, right)
    if kind == "vector@matrix":
        right = (k, n)
    x, w = numbers(*left), numbers(*right, seed=1)
    check(ops.matmul, [x, w], x @ w)


@FEW
@given(
    shapes_of.mutually_broadcastable_shapes(num_shapes=2, max_dims=6, min_side=0, max_side=7),
    st.sampled_from(["add", "subtract", "multiply", "maximum", "less"]),
)
def test_broadcasting(shapes, name):
    a, b = (numbers(*shape, seed=i) for i, shape in enumerate(shapes.input_shapes))
    check(getattr(ops, name), [a, b], np.asarray(getattr(np, name)(a, b)))


@FEW
@given(shapes_of.mutually_broadcastable_shapes(num_shapes=3, max_dims=5, min_side=0, max_side=6))
def test_where(shapes):
    condition, a, b = (numbers(*shape, seed=i) for i, shape in enumerate(shapes.input_shapes))
    condition = np.asarray(condition > 0)
    check(ops.where, [condition, a, b], np.where(condition, a, b))


@FEW
@given(st.data(), shapes_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
def test_broadcast_to(data, shape):
    x = numbers(*(1 if data.draw(st.booleans()) else n for n in shape))
    lead = data.draw(st.lists(small(0, 3), max_size=6 - len(shape)))
    target = (*lead, *shape)
    check(lambda x: ops.broadcast_to(x, target), [x], np.broadcast_to(x, target))


# -- moving elements ----------------------------------------------------------------------------


@FEW
@given(st.data(), shapes_of.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=6))
def test_indexing(data, shape):
    keys = shapes_of.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    key = data.draw(keys)
    x = numbers(*shape)
    right = np.asarray(x[key])
    assume(right.ndim <= 6)
    check(lambda x: ops.indexing.index(x, key), [x], right)


@FEW
@given(st.data(), shapes_of.array_shapes(max_dims=5, min_side=0, max_side=5))
def test_concatenate(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    sizes = data.draw(st.lists(small(0, 5), min_size=1, max_size=4))
    pieces = []
    for i, size in enumerate(sizes):
        whole = list(shape)
        whole[axis] = size
        pieces.append(numbers(*whole, seed=i))
    check(lambda *xs: ops.concatenate(xs, axis), pieces, np.concatenate(pieces, axis))


@FEW
@given(st.data(), shapes_of.array_shapes(min_dims=0, max_dims=5, max_side=6))
def test_reshape(data, shape):
    """Random factors of the size in any order, one of them perhaps -1."""
    x, target = numbers(*shape), []
    left = x.size
    while left > 1 and len(target) < 4:
        factor = data.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0]))
        target.append(factor)
        left //= factor
    target = data.draw(st.permutations([*target, left]))
    if data.draw(st.booleans()):
        target[data.draw(st.integers(0, len(target) - 1))] = -1
    check(lambda x: ops.reshape(x, target), [x], x.reshape(target))


@FEW
@given(st.data(), shapes_of.array_shapes(max_dims=6, min_side=0, max_side=20))
def test_transpose(data, shape):
    assume(np.prod(shape) < 20_000)
    perm = data.draw(st.permutations(range(len(shape))))
    x = numbers(*shape)
    check(lambda x: ops.transpose(x, perm), [x], x.transpose(perm))


@FEW
@given(st.data(), shapes_of.array_shapes(max_dims=5, min_side=0, max_side=5))
def test_pad(data, shape):
    side = small(0, 3)
    pair = st.tuples(side, side)
    widths = data.draw(st.lists(pair, min_size=len(shape), max_size=len(shape)))
    x = numbers(*shape)
    right = np.pad(x, widths, constant_values=1.5)
    check(lambda x: ops.pad(x, widths, constant_values=1.5), [x], right)


@FEW
@given(
    st.data(),
    shapes_of.array_shapes(max_dims=5, max_side=6),
    st.sampled_from(["sum", "mean", "max", "min", "prod"]),
    st.booleans(),
)
def test_reduce(data, shape, name, keepdims):
    axes = data.draw(st.one_of(st.none(), shapes_of.valid_tuple_axes(len(shape))))
    x = numbers(*shape)
    right = np.asarray(getattr(np, name)(x, axis=axes, keepdims=keepdims))
    check(lambda x: getattr(ops, name)(x, axis=axes, keepdims=keepdims), [x], right)


@FEW
@given(
    st.data(), shapes_of.array_shapes(max_dims=4, max_side=6), st.sampled_from(["argmax", "argmin"])
)
def test_arg(data, shape, name):
    axis = data.draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    x = np.round(numbers(*shape))
    right = np.asarray(getattr(np, name)(x, axis=axis), "int32")
    check(lambda x: getattr(ops, name)(x, axis=axis), [x], right)
