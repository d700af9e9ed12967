"""Calls of the functions of `nbcnn.ops` whose results real Keras has recorded."""

from typing import Any, NamedTuple

import numpy as np


class Call(NamedTuple):
    """`name`: the function, below `ops`. Arrays among the arguments are given as tensors, floats in
    float64; gradients are taken for those that are floats. `host`: works on arrays only.
    """

    id: str
    name: str
    args: tuple
    kwargs: dict[str, Any]
    host: bool = False


CALLS: list[Call] = []


def normal(*shape, seed=0):
    """As `cases.case.normal`, which needs libraries that other environments lack."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def positive(*shape, seed=0):
    return np.abs(normal(*shape, seed=seed)) + 0.125


def add(name, *args, host=False, **kwargs):
    number = sum(call.name == name for call in CALLS)
    CALLS.append(Call(f"{name}-{number}", name, args, kwargs, host))


def ints(*values):
    return np.array(values, "int32")


def distinct(*shape, seed=0):
    """Numbers no two of which are equal or near."""
    count = int(np.prod(shape))
    order = np.random.default_rng((seed, count)).permutation(count)
    return (order.reshape(shape) - count / 2 + 0.25) / 4


X, Y = normal(3, 4, 5), normal(3, 4, 5, seed=1)
M, SQUARE = normal(4, 5), normal(4, 4)
V, W = normal(5), normal(5, seed=1)
P = positive(3, 4)
UNIT = np.tanh(normal(3, 4)) * 0.9
WHOLE = np.random.default_rng(0).integers(-9, 10, (3, 4)).astype("int32")
FLAGS = normal(3, 4) > 0
HOLED = np.where(np.abs(X) < 0.4, np.nan, X)
ODD = np.array([1.5, -np.inf, np.nan, np.inf, -0.0, 2.5, 0.0])
SORTED = np.sort(distinct(7))
MATRICES = normal(2, 3, 3) + 3 * np.eye(3)
POSITIVE_DEFINITE = MATRICES @ MATRICES.transpose(0, 2, 1)
IMAGES = np.random.default_rng(1).random((2, 6, 7, 3))
VIDEO = normal(2, 4, 5, 3, 2)


def elementwise():
    for name in ("arcsinh", "arctan", "cosh", "sinh", "tan", "cbrt", "erfc", "exp2", "trunc",
                 "deg2rad", "rad2deg", "fabs", "sinc", "angle", "real", "conj", "conjugate",
                 "signbit", "isreal", "imag"):  # fmt: skip
        add(name, X)
    for name in ("arccos", "arcsin", "arctanh", "erfinv"):
        add(name, UNIT)
    add("arccosh", 1 + P)
    for name in ("log2", "log10"):
        add(name, P)
    add("i0", X, host=True)
    for name in ("arctan2", "hypot", "logaddexp", "logaddexp2", "fmax", "fmin"):
        add(name, X, Y[:, :1])
        add(name, V, Y)
    add("fmod", X * 3, np.abs(Y[0]) + 0.5)
    add("fmax", HOLED, Y)
    add("fmin", HOLED, Y)
    add("heaviside", np.array([-1.5, 0.0, 2.0, 0.0]), normal(4))
    add("divide_no_nan", X, np.where(np.abs(Y) < 0.5, 0.0, Y))
    add("ldexp", X, ints(0, -1, 2, 3, 1))
    add("nextafter", X, Y, host=True)
    for name in ("isclose", "allclose"):
        add(name, X, X + 1e-6)
        add(name, X, X + np.where(X > 0, 1e-3, 0.0), rtol=1e-4, atol=0.0)
        add(name, ODD, ODD, equal_nan=True)
        add(name, ODD, ODD[::-1])
    add("isneginf", ODD)
    add("isposinf", ODD)
    add("nan_to_num", ODD, nan=2.0, posinf=5.0, neginf=-3.0)
    add("nan_to_num", HOLED)
    add("round", X, decimals=1)
    add("round", X * 2)
    add("logical_xor", FLAGS, ~FLAGS[0])
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"):
        add(name, WHOLE, WHOLE[0] + 20)
    for name in ("left_shift", "right_shift", "bitwise_left_shift", "bitwise_right_shift"):
        add(name, WHOLE + 30, ints(0, 1, 2, 3))
    add("bitwise_not", WHOLE)
    add("bitwise_invert", WHOLE)
    add("saturate_cast", X * 200, "uint8")
    add("saturate_cast", WHOLE * 100, "int8")
    add("clip", X, -0.5, 0.7)
    add("clip", X, Y[0] - 1, Y[0] + 1)
    add("view", X, "int64", host=True)


def creation():
    add("full", (2, 3), 1.5)
    add("full", (2, 3), 2, dtype="int32")
    add("full_like", X, 2.5)
    add("full_like", WHOLE, 3)
    for name in ("empty_like", "zeros_like", "ones_like"):
        add(name, X) if name != "empty_like" else None
        add(name, FLAGS) if name != "empty_like" else None
    add("eye", 3)
    add("eye", 3, 5, k=-1)
    add("identity", 4)
    add("tri", 3, 5, k=1)
    add("linspace", 0.0, 5.0, 7)
    add("linspace", V, W, 4, axis=1)
    add("linspace", V, 3.0, 5, endpoint=False)
    add("logspace", 0.0, 2.0, 5)
    add("logspace", 0.0, 3.0, 4, base=2.0, endpoint=False)
    add("geomspace", 1.0, 256.0, 9)
    add("meshgrid", V, W[:3])
    add("meshgrid", V, W[:3], normal(2), indexing="ij")
    add("vander", V)
    add("vander", V, 3, increasing=True)
    for name in ("bartlett", "blackman", "hamming", "hanning"):
        add(name, np.array(7, "int32"), host=True)
    add("kaiser", np.array(7, "int32"), 3.0, host=True)
    add("array", X)
    add("copy", X)


def shapes():
    add("append", X, Y, axis=1)
    add("append", X, V)
    for name, x in (("hstack", X), ("vstack", X), ("dstack", X), ("hstack", V), ("vstack", V)):
        add(name, [x, x[::-1].copy(), x])
    add("dstack", [M, M + 1])
    add("stack", [V, W], axis=-1)
    add("concatenate", [X, Y])
    add("concatenate", [X, Y[:, :2]], axis=-2)
    add("array_split", X, 3, axis=2)
    add("hsplit", X, 2)
    add("vsplit", X, 3)
    add("dsplit", X, [1, 4])
    add("unstack", X, axis=1)
    for name in ("fliplr", "flipud"):
        add(name, X)
    for k in (-1, 0, 1, 2, 3):
        add("rot90", X, k)
    add("rot90", X, 1, axes=(2, 0))
    add("roll", X, 7)
    add("roll", X, -2, axis=1)
    add("roll", X, (1, -3), axis=(0, 2))
    add("repeat", X, 2)
    add("repeat", X, 3, axis=-1)
    add("repeat", X, [2, 0, 1, 3], axis=1)
    add("tile", X, 2)
    add("tile", X, (2, 1, 3))
    add("tile", V, (2, 2))
    for mode in ("reflect", "symmetric"):
        add("pad", X, ((1, 2), (0, 0), (2, 1)), mode=mode)
    add("pad", X, 1)
    add("pad", X, ((1, 0), (0, 2), (0, 0)), constant_values=2.5)
    add("diagonal", X)
    add("diagonal", X, 1, 2, 0)
    add("trace", X, -1, axis1=1, axis2=2)
    add("diag", SQUARE, 1)
    add("diag", V, -2)
    add("diagflat", M[:2], 1)
    for name in ("tril", "triu"):
        add(name, X)
        add(name, M, -1)
        add(name, M, 2)
    add("slice", X, (1, 0, 2), (2, 3, 2))
    add("slice_update", X, (1, 0, 2), Y[:2, :3, :2])
    add("get_item", X, (slice(1, None), 2))
    add("moveaxis", X, (0, 1), (-1, 0))
    add("swapaxes", X, -1, 0)
    add("rearrange", IMAGES, "b h w c -> b (h w) c")
    add("rearrange", IMAGES, "b (h p) w c -> (b p) c w h", p=2)
    add("kron", SQUARE, M[:2, :3])
    add("cross", normal(4, 3), normal(4, 3, seed=1))
    add("cross", normal(4, 2), normal(4, 3, seed=1))
    add("cross", normal(3, 4), normal(3, 4, seed=1), axis=0)
    add("ndim", X)
    add("size", X)


def picking():
    add("take", X, ints(0, 2, -1), axis=1)
    add("take", X, ints(3, -2))
    add("take", X, np.array([[0, 1], [2, 2]], "int32"), axis=-1)
    add("take", X, 1, axis=0)
    add("take_along_axis", X, np.argsort(Y, 1).astype("int32"), axis=1)
    add("take_along_axis", X, np.array([[[0], [2], [-1], [1]]], "int32"), axis=2)
    for axis in (0, -1, 1):
        add("argsort", distinct(3, 4, 5), axis=axis)
        add("sort", distinct(3, 4, 5), axis=axis)
    add("sort", WHOLE, axis=0)
    add("top_k", distinct(3, 7), 3)
    add("in_top_k", ints(1, 0, 3), distinct(3, 5), 2)
    for side in ("left", "right"):
        add("searchsorted", SORTED, np.append(distinct(5, seed=3) * 1.5, SORTED[2]), side=side)
    add("digitize", X, np.array([-1.0, 0.0, 0.5, 1.0]))
    add("bincount", ints(0, 3, 1, 3, 3), minlength=6)
    add("bincount", ints(0, 3, 1, 3, 3), weights=V, minlength=5)
    add("isin", WHOLE, ints(1, 2, -3, 0))
    add("isin", WHOLE, ints(1, 2, -3, 0), invert=True)
    add("select", [X > 1, X < 0], [X, Y], 2.0)
    add("count_nonzero", WHOLE, axis=1)
    add("multi_hot", np.array([[0, 2], [1, 1]], "int32"), num_classes=4)
    add("multi_hot", ints(0, 3), num_classes=4)
    add("one_hot", ints(0, 3, 1), 4, axis=0)
    add("scatter", np.array([[0], [3], [0]], "int32"), normal(3, 2), (4, 2))
    add("scatter", np.array([[0, 1], [3, 0], [0, 1]], "int32"), normal(3), (4, 2))
    places = np.array([[0, 1], [2, 3]], "int32")
    add("scatter_update", X, places, Y[0, :2])
    for reduction in ("add", "max", "min", "mul"):
        both = np.array([[0, 1], [2, 3], [0, 1]], "int32")
        add("scatter_update", X, both, Y[0, :3], reduction=reduction)
    for name in ("segment_sum", "segment_max", "segment_min", "segment_prod"):
        add(name, M, ints(0, 2, 0, 1), num_segments=3)
    add("segment_sum", M, ints(0, 2, 0, 1), num_segments=5)
    for axis in (None, 1, -1):
        add("argmax", distinct(3, 4, 5), axis=axis)
    add("where", FLAGS, P, UNIT)
    add("nonzero", WHOLE, host=True)
    add("unique", WHOLE, host=True)
    add("histogram", X, bins=5, range=(-2.0, 2.0), host=True)
    add("unravel_index", ints(0, 7, 11), (3, 4), host=True)


def statistics():
    for name in ("amax", "amin", "ptp", "median", "logsumexp", "sum", "mean", "var", "std", "prod"):
        add(name, distinct(3, 4, 5))
        add(name, distinct(3, 4, 5), axis=1)
        add(name, distinct(3, 4, 5), axis=(0, -1), keepdims=True)
    for name in ("any", "all"):
        add(name, FLAGS, axis=1)
    add("max", X, axis=1, initial=1.0)
    add("min", X, axis=(0, 2), initial=-1.0)
    add("average", X, axis=1, weights=P[0])
    add("average", X, weights=np.abs(Y))
    for method in ("linear", "lower", "higher", "midpoint", "nearest"):
        add("quantile", distinct(3, 4, 5), 0.3, axis=1, method=method)
    add("quantile", distinct(3, 4, 5), [0.1, 0.5, 0.75], axis=(0, 2), keepdims=True)
    add("percentile", distinct(3, 4, 5), 35.0)
    for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin",
                 "nanmedian"):  # fmt: skip
        add(name, HOLED)
        add(name, HOLED, axis=1)
        add(name, HOLED, axis=-1, keepdims=True)
    add("nanargmax", HOLED, axis=2)
    add("nanargmin", HOLED)
    add("nancumsum", HOLED, axis=1)
    add("nancumprod", HOLED, axis=0)
    add("nanquantile", HOLED, 0.3, axis=0)
    add("nanpercentile", HOLED, 70.0, axis=2)
    for name in ("cumsum", "cumprod"):
        add(name, X)
        add(name, X, axis=1)
        add(name, X, axis=-1)
        add(name, WHOLE, axis=0)
    add("diff", X)
    add("diff", X, n=2, axis=0)
    add("trapezoid", X)
    add("trapezoid", X, dx=0.5, axis=0)
    add("trapezoid", X, x=SORTED[:4], axis=1)
    add("corrcoef", M)
    for mode in ("valid", "same", "full"):
        add("correlate", SORTED, V[:3], mode=mode)
        add("correlate", V[:3], SORTED, mode=mode)


def linear():
    add("dot", M, V)
    add("dot", M, V[:, None])
    add("dot", X, M.T.copy())
    add("inner", X, M)
    add("outer", M, V)
    add("vdot", X, Y)
    add("matmul", X, normal(5, 2))
    add("matmul", normal(2, 1, 3, 4), normal(3, 4, 2))
    add("matmul", V, X.swapaxes(1, 2).copy())
    add("tensordot", X, normal(4, 5, 2))
    add("tensordot", X, Y, axes=([0, 2], [0, 2]))
    add("tensordot", X, normal(5, 2), axes=1)
    for text, *operands in (
        ("ij,jk->ik", M, normal(5, 2)),
        ("bij,bkj->bik", X, Y),
        ("bij,bij->b", X, Y),
        ("bij->bji", X),
        ("bij->i", X),
        ("ii->i", SQUARE),
        ("ii", SQUARE),
        ("i,j->ij", V, W),
        ("...ij,jk->...ik", X, normal(5, 2)),
        ("...ij,...kj", X, Y[0]),
        ("ab,bc,cd->ad", SQUARE, M, normal(5, 2)),
        ("bqhd,bkhd->bhqk", normal(2, 3, 2, 4), normal(2, 5, 2, 4)),
        ("ijk,ijl->kl", X, normal(3, 4, 2)),
    ):
        add("einsum", text, *operands)
    for ord, axis in ((None, None), (None, 1), (1, 0), (2, -1), (3, 1), (np.inf, 2), (-np.inf, 0),
                      ("fro", (0, 1)), (1, (0, 2)), (np.inf, (1, 2)), (None, (0, 2))):  # fmt: skip
        add("norm", X, ord=ord, axis=axis)
    add("norm", X, ord=2, axis=1, keepdims=True)
    add("cdist", normal(3, 4), normal(5, 4))
    for name in ("det", "inv", "slogdet", "logdet"):
        add(name, POSITIVE_DEFINITE, host=True)
    add("cholesky", POSITIVE_DEFINITE, host=True)
    add("cholesky", POSITIVE_DEFINITE, upper=True, host=True)
    add("cholesky_inverse", np.linalg.cholesky(POSITIVE_DEFINITE), host=True)
    add("solve", MATRICES, normal(2, 3, 2), host=True)
    add("solve_triangular", MATRICES, normal(2, 3, 2), lower=True, host=True)
    add("pinv", M, host=True)
    add("lstsq", M.T.copy(), V, host=True)
    add("matrix_rank", SQUARE, host=True)
    add("svd", M, compute_uv=False, host=True)
    for name in ("fft", "fft2"):
        add(name, (M, M + 1), host=True)
    add("ifft2", (M, M + 1), host=True)
    add("rfft", M, host=True)
    add("irfft", (M, M * 0), host=True)


def networks():
    for name in ("celu", "hard_tanh", "soft_shrink", "hard_shrink", "sparse_plus",
                 "sparse_sigmoid", "squareplus", "tanh_shrink"):  # fmt: skip
        add(name, X * 2)
    add("celu", X, alpha=0.4)
    add("squareplus", X, b=1.5)
    add("soft_shrink", X, 0.3)
    add("hard_shrink", X, 0.3)
    add("threshold", X, 0.5, -1.0)
    add("glu", normal(3, 4))
    add("glu", X, axis=1)
    add("sparsemax", X)
    add("sparsemax", X, axis=1)
    add("moments", X, (0, 1))
    add("moments", X, [2], keepdims=True)
    add("normalize", X)
    add("normalize", X, axis=1, order=3)
    add("normalize", X, axis=0, order=1)
    add("rms_normalization", X)
    add("rms_normalization", X, scale=P[0][:, None], axis=1)
    add("psnr", IMAGES, IMAGES[::-1].copy(), 1.0)
    q, k, v = (normal(2, t, 4, 3, seed=i) for i, t in enumerate((5, 6, 6)))
    add("dot_product_attention", q, k, v)
    add("dot_product_attention", q, k, v, bias=normal(2, 4, 5, 6), mask=normal(2, 1, 5, 6) > -1)
    add("dot_product_attention", q, k[:, :, :2].copy(), v[:, :, :2].copy(), scale=0.3)
    add("dot_product_attention", q, q + 1, q * 2, is_causal=True)
    for padding in ("valid", "same"):
        add("conv", IMAGES, normal(3, 2, 3, 4), 2, padding)
        add("depthwise_conv", IMAGES, normal(3, 2, 3, 2), 1, padding)
        add("separable_conv", IMAGES, normal(3, 2, 3, 2), normal(1, 1, 6, 4), 2, padding)
        add("conv_transpose", IMAGES, normal(3, 2, 4, 3), 2, padding)
        add("conv_transpose", IMAGES, normal(3, 3, 4, 3), (3, 2), padding, output_padding=1)
        add("conv_transpose", X, normal(3, 2, 5), 2, padding)
        add("conv", X, normal(3, 5, 2), 1, padding)
        add("depthwise_conv", X, normal(3, 5, 2), 1, padding)
        add("conv", VIDEO, normal(2, 3, 2, 2, 4), 2, padding)
        add("max_pool", X, 2, 2, padding)
        add("max_pool", VIDEO, 2, 1, padding)
        add("average_pool", VIDEO, (2, 3, 2), 2, padding)
        add("average_pool", X, 3, 1, padding)
    add("conv", VIDEO, normal(2, 2, 2, 2, 4), dilation_rate=(2, 1, 1))
    add("depthwise_conv", IMAGES, normal(3, 2, 3, 2), dilation_rate=2)
    for name in ("adaptive_average_pool", "adaptive_max_pool"):
        add(name, distinct(2, 6, 7, 3), (4, 3))
        add(name, distinct(2, 6, 7, 3), 2)
        add(name, distinct(2, 7, 3), 3)
    add("depth_to_space", normal(2, 3, 4, 8), 2)
    add("space_to_depth", normal(2, 4, 6, 3), 2)
    add("depth_to_space", normal(2, 8, 3, 4), 2, data_format="channels_first")
    add("space_to_depth", normal(2, 3, 4, 6), 2, data_format="channels_first")
    images = normal(2, 3, 6, 7)
    add("unfold", images, (2, 3))
    add("unfold", images, 2, dilation=2, padding=1, stride=(2, 1))
    add("fold", normal(2, 3 * 6, 25), (6, 7), (2, 3))
    add("fold", normal(2, 12, 21), (6, 7), 2, dilation=2, padding=1, stride=(2, 1))
    add("extract_sequences", M, 3, 2)


def image():
    grey = IMAGES[..., :1].copy()
    add("image.rgb_to_grayscale", IMAGES)
    add("image.rgb_to_grayscale", grey)
    add("image.rgb_to_hsv", IMAGES)
    add("image.hsv_to_rgb", IMAGES)
    first = IMAGES.transpose(0, 3, 1, 2).copy()
    add("image.rgb_to_hsv", first, data_format="channels_first")
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3"):
        for size in ((9, 4), (12, 14), (3, 7)):
            add("image.resize", IMAGES, size, interpolation=interpolation)
    add("image.resize", IMAGES[0], (3, 4), antialias=True)
    add("image.resize", IMAGES, (4, 8), crop_to_aspect_ratio=True)
    add("image.resize", IMAGES, (4, 8), pad_to_aspect_ratio=True, fill_value=0.5)
    add("image.resize", first, (4, 8), data_format="channels_first")
    add("image.extract_patches", IMAGES, (2, 3))
    add("image.extract_patches", IMAGES, 3, strides=2, padding="same")
    add("image.extract_patches", IMAGES[0], 2, strides=1, dilation_rate=2)
    add("image.extract_patches_3d", VIDEO, (2, 3, 2), strides=(1, 2, 1))
    add("image.pad_images", IMAGES, 1, 2, target_height=10, right_padding=0)
    add("image.crop_images", IMAGES, 1, 2, target_height=4, right_cropping=1)
    add("image.gaussian_blur", IMAGES, (3, 3), (1.0, 0.7))
    add("image.gaussian_blur", IMAGES[0], (5, 3), (1.0, 1.5))
    add("image.sobel_edges", IMAGES)
    add("image.ssim", IMAGES, IMAGES[::-1] * 0.9 + 0.05, filter_size=3)
    coordinates = np.random.default_rng(2).uniform(-3, 8, (2, 11)) + 0.01
    for mode in ("constant", "nearest", "wrap", "mirror", "reflect"):
        for order in (0, 1):
            add("image.map_coordinates", M, coordinates, order, fill_mode=mode, fill_value=0.5)
    moved = np.array([[1.1, 0.2, -1.0, -0.1, 0.9, 0.7, 0, 0], [0.8, 0, 1.2, 0.3, 1, -0.4, 0, 0]])
    for mode in ("constant", "nearest", "reflect"):
        add("image.affine_transform", IMAGES, moved, fill_mode=mode)
    add("image.affine_transform", IMAGES, moved, "nearest")
    starts = np.array([[0.0, 0.0], [6, 0], [0, 5], [6, 5]])
    ends = starts + np.array([[0.3, 0.4], [-0.6, 0.2], [0.5, -0.7], [0.1, 0.2]])
    pairs = np.stack([starts, starts]), np.stack([ends, ends - 0.3])
    add("image.perspective_transform", IMAGES, *pairs, host=True)
    size, shift = np.array([1.3, 0.8]), np.array([0.4, -1.2])
    add("image.scale_and_translate", IMAGES, (2, 8, 9, 3), size, shift, (1, 2), "linear", host=True)
    add("image.scale_and_translate", IMAGES, (2, 4, 9, 3), size, shift, (1, 2), "cubic", host=True)


for section in (
    elementwise, creation, shapes, picking, statistics, linear, networks, image,
):  # fmt: skip
    section()
