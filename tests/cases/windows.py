"""Windows with weights of their own, unpooling, neighbouring channels, borders."""

import numpy as np
from cases.case import FLOATS, Case, normal
from cases.pool import any_pixels

from nbcnn.ops.borders import PadBorder, PadBorderGradient
from nbcnn.ops.local import Local2D, Local2DInputGradient, Local2DKernelGradient, kernel_shape
from nbcnn.ops.response_norm import ResponseNorm, ResponseNormGradient
from nbcnn.ops.unpool import MaxUnpool2D, MaxUnpool2DGradient, PoolPlaces

# name, x, filters, window, strides, padding, tiny
LOCAL = [
    ("even", (2, 4, 3, 2), 3, (2, 2), (1, 1), "valid", True),
    ("strides", (1, 5, 6, 3), 2, (3, 2), (2, 3), "valid", True),
    ("same", (2, 4, 3, 1), 5, (3, 3), (1, 2), "same", True),
    ("explicit", (1, 4, 3, 2), 2, (2, 3), (3, 1), ((1, 0), (0, 2)), True),
    ("no_images", (0, 3, 3, 2), 2, (2, 2), (1, 1), "valid", True),
    ("whole_vectors", (7, 7, 6, 5), 48, (3, 3), (1, 1), "same", False),
    ("panel_tail", (13, 6, 5, 4), 37, (3, 2), (2, 1), "valid", False),
    ("sequence", (9, 40, 1, 11), 20, (5, 1), (1, 1), "same", False),
    ("one_filter", (33, 9, 9, 3), 1, (5, 5), (2, 2), "same", False),
]


def local(name, shape, filters, window, strides, padding, tiny):
    geometry = window, strides, padding
    s = Local2D(*geometry).geometry(shape, filters)
    x, w = normal(*shape), normal(*kernel_shape(s), seed=1)
    dy = normal(s.n, s.oh, s.ow, s.f, seed=2)
    yield Case(f"local2d-{name}", Local2D(*geometry), (x, w), tiny=tiny)
    into_x = Local2DInputGradient(*geometry, shape)
    yield Case(f"local2d_dx-{name}", into_x, (dy, w), tiny=tiny)
    yield Case(f"local2d_dw-{name}", Local2DKernelGradient(*geometry), (x, dy), tiny=tiny)


# name, image, window, strides, padding, tiny
UNPOOL = [
    ("tiled", (2, 4, 4, 3), (2, 2), (2, 2), "valid", True),
    ("cut", (1, 5, 6, 2), (2, 2), (2, 2), "valid", True),
    ("overlap", (1, 5, 5, 2), (3, 2), (1, 2), "valid", True),
    ("same", (1, 5, 4, 2), (3, 3), (2, 2), "same", True),
    ("gaps", (1, 7, 8, 2), (2, 2), (3, 4), "valid", True),
    ("no_images", (0, 4, 4, 2), (2, 2), (2, 2), "valid", True),
    ("vectors", (3, 12, 14, 37), (2, 2), (2, 2), "valid", False),
    ("images", (17, 9, 8, 20), (3, 3), (2, 2), "same", False),
    ("many_taps", (1, 20, 34, 3), (17, 17), (3, 17), "valid", False),
]


def unpooling(name, shape, window, strides, padding, tiny):
    op = PoolPlaces(window, strides, padding, shape[1:3])
    s = op.geometry(shape)
    winners = any_pixels(s).astype("int32" if s.kh * s.kw > 255 else "uint8")
    yield Case(f"pool_places-{name}", op, (winners,), tiny=tiny)
    i, j = (a[None, :, :, None] for a in np.indices((s.oh, s.ow)))
    rows = i * s.sh - s.pt + winners.astype("int32") // s.kw
    own = (rows * s.w + j * s.sw - s.pl + winners.astype("int32") % s.kw).astype("int32")
    kinds, rng = [("own", own)], np.random.default_rng(len(name))
    if own.size:
        kinds.append(("any", rng.integers(0, s.h * s.w, own.shape)))
        some = own.copy()
        some[0, 0, :, 0], some[0, -1, -1, -1] = -1, s.h * s.w + 1_000_000_000
        kinds.append(("no_places", some))
    unpool = window, strides, (s.pt, s.pl), shape[1:3]
    for kind, places in kinds:
        inputs = normal(*own.shape), places.astype("int32")
        floats = FLOATS if kind == "own" else FLOATS[:1]
        yield Case(f"max_unpool2d-{name}-{kind}", MaxUnpool2D(*unpool), inputs, (), tiny, floats)
        inputs = normal(*shape, seed=1), inputs[1]
        back = MaxUnpool2DGradient(*unpool)
        yield Case(f"max_unpool2d_dx-{name}-{kind}", back, inputs, (), tiny, floats)


# name, x, size, alpha, beta, k, tiny
RESPONSES = [
    ("small", (2, 3, 7), 3, 0.5, 0.75, 1.0, True),
    ("few_channels", (2, 2, 2), 5, 0.3, 0.75, 2.0, True),
    ("root", (3, 5), 5, 0.3, 0.5, 2.0, True),
    ("whole", (3, 6), 3, 0.2, 1.0, 1.5, True),
    ("exponent", (3, 9), 5, 0.4, 0.6, 1.0, True),
    ("one_channel", (4, 1), 1, 1.0, 1.0, 1.0, True),
    ("no_rows", (0, 4), 5, 1e-4, 0.75, 2.0, True),
    ("alexnet", (2, 5, 5, 96), 5, 2e-5, 0.75, 2.0, False),
    ("tail", (5, 3, 83), 5, 0.1, 0.75, 2.0, False),
    ("wide", (3, 1000), 31, 0.05, 0.3, 2.0, False),
]


def responses(name, shape, size, alpha, beta, k, tiny):
    x, dy = normal(*shape), normal(*shape, seed=1)
    settings = size, alpha, beta, k
    yield Case(f"response_norm-{name}", ResponseNorm(*settings), (x,), tiny=tiny)
    yield Case(f"response_norm_dx-{name}", ResponseNormGradient(*settings), (x, dy), tiny=tiny)


# name, x, widths, modes, tiny
BORDERS = [
    ("rows", (2, 4, 3), ((0, 0), (2, 1), (0, 0)), "reflect symmetric edge wrap fill", True),
    ("image", (2, 3, 4, 2), ((0, 0), (1, 2), (3, 0), (0, 0)), "reflect edge wrap fill", True),
    (
        "volume",
        (1, 2, 2, 3, 1),
        ((0, 0), (1, 1), (0, 1), (2, 1), (0, 0)),
        "reflect symmetric",
        True,
    ),
    ("channels_first", (1, 2, 3, 3), ((0, 0), (0, 0), (1, 1), (2, 2)), "symmetric fill", True),
    ("wide_edge", (1, 1, 2, 3), ((0, 0), (4, 0), (1, 5), (0, 0)), "edge fill", True),
    ("batch", (3, 2), ((1, 2), (0, 0)), "wrap", True),
    ("nothing", (2, 3, 2), ((0, 0), (0, 0), (0, 0)), "reflect", True),
    ("no_images", (0, 3, 3, 2), ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect", True),
    ("map", (3, 29, 31, 20), ((0, 0), (3, 3), (2, 3), (0, 0)), "reflect edge wrap fill", False),
    ("tasks", (2, 130, 133, 3), ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect", False),
    ("films", (2, 5, 9, 8, 7), ((0, 0), (2, 1), (3, 0), (1, 4), (0, 0)), "symmetric wrap", False),
]


def borders(name, shape, widths, modes, tiny):
    padded = [n + a + b for n, (a, b) in zip(shape, widths)]
    for mode in modes.split():
        inputs = [normal(*shape)]
        if mode == "fill":
            inputs.append(normal(*(n for n, w in zip(shape, widths) if w == (0, 0)), seed=1))
        yield Case(f"pad_border-{name}-{mode}", PadBorder(widths, mode), tuple(inputs), tiny=tiny)
        if mode != "fill":
            op = PadBorderGradient(widths, mode, shape)
            yield Case(f"pad_border_dx-{name}-{mode}", op, (normal(*padded, seed=2),), tiny=tiny)
    if name == "rows":
        numbers = np.arange(24, dtype="int64").reshape(shape)
        yield Case("pad_border-int", PadBorder(widths, "wrap"), (numbers,))
        yield Case("pad_border-bool", PadBorder(widths, "edge"), (numbers % 3 == 0,))


CASES = [
    case
    for rows, made in (
        (LOCAL, local), (UNPOOL, unpooling), (RESPONSES, responses), (BORDERS, borders)
    )
    for row in rows
    for case in made(*row)
]  # fmt: skip
