"""Pooling: windows that fit, overlap, leave gaps and reach over the edge."""

import numpy as np
from cases.case import Case, normal

from nbcnn.ops.pool import (
    AvgPool2D,
    AvgPool2DGradient,
    MaxPool2D,
    MaxPool2DGradient,
    Upsample2D,
    Upsample2DGradient,
)

# name, x, window, strides, padding
TINY = [
    ("even", (2, 4, 4, 3), (2, 2), (2, 2), "valid"),
    ("overlap", (1, 5, 5, 2), (3, 2), (1, 2), "valid"),
    ("same", (1, 5, 4, 2), (3, 3), (2, 2), "same"),
    ("explicit", (1, 4, 5, 1), (3, 3), (2, 1), ((1, 0), (0, 2))),
    ("gaps", (1, 7, 8, 2), (2, 2), (3, 4), "valid"),
    ("no_images", (0, 4, 4, 2), (2, 2), (2, 2), "valid"),
    ("quads", (1, 5, 4, 8), (3, 2), (2, 2), "same"),
]
LARGE = [
    ("lenet", (3, 28, 28, 6), (2, 2), (2, 2), "valid"),
    ("resnet_stem", (1, 56, 57, 64), (3, 3), (2, 2), "same"),
    ("vector_tail", (2, 9, 11, 17), (2, 2), (2, 2), "valid"),
    ("overlap_tail", (1, 9, 8, 33), (3, 3), (1, 1), "same"),
    ("stride_one", (3, 8, 8, 16), (2, 2), (1, 1), "valid"),
    ("row", (1, 6, 20, 5), (1, 3), (1, 3), "valid"),
    ("column", (1, 20, 6, 5), (3, 2), (2, 1), "same"),
    ("wide_gaps", (2, 17, 19, 16), (3, 2), (5, 4), "valid"),
    ("many_taps", (1, 9, 10, 19), (4, 5), (2, 3), "same"),
    ("phases", (2, 9, 11, 20), (3, 3), (2, 2), ((1, 1), (1, 1))),
    ("wide_phases", (1, 6, 9, 70), (3, 3), (2, 2), "same"),
    ("global", (3, 7, 7, 65), (7, 7), (7, 7), "valid"),
    ("wide_index", (1, 17, 20, 3), (17, 17), (1, 1), "valid"),
    ("large_image", (1, 130, 131, 3), (2, 2), (2, 2), "same"),
]


def pools(name, shape, window, strides, padding, tiny):
    geometry = (window, strides, padding)
    x = np.round(normal(*shape) * 2) / 2  # with ties
    if name in ("overlap", "overlap_tail"):
        x[0, 2, 2, 0] = np.nan
    if name == "vector_tail":
        x[0] = -np.inf
    yield Case(f"maxpool2d-{name}", MaxPool2D(*geometry), (x,), tiny=tiny)
    yield Case(f"maxpool2d-{name}-indices", MaxPool2D(*geometry, indices=True), (x,), tiny=tiny)
    yield Case(f"avgpool2d-{name}", AvgPool2D(*geometry), (normal(*shape),), tiny=tiny)
    s = MaxPool2D(*geometry).geometry(shape)
    dy = normal(s.n, s.oh, s.ow, s.c)
    yield Case(f"avgpool2d_dx-{name}", AvgPool2DGradient(*geometry, shape), (dy,), tiny=tiny)
    into_x = MaxPool2DGradient(*geometry, shape)
    for choice, of in (("last", last_pixels), ("any", any_pixels)):
        indices = of(s).astype(MaxPool2D(*geometry).index_dtype)
        yield Case(f"maxpool2d_dx-{name}-{choice}", into_x, (dy, indices), tiny=tiny)


def last_pixels(s):
    """Winners: the last pixel of every window that lies in the input."""
    i, j = np.indices((s.oh, s.ow))
    u = np.minimum(s.kh - 1, s.h - 1 - (i * s.sh - s.pt))
    v = np.minimum(s.kw - 1, s.w - 1 - (j * s.sw - s.pl))
    return np.broadcast_to((u * s.kw + v)[None, :, :, None], (s.n, s.oh, s.ow, s.c))


def any_pixels(s):
    """Winners: a random pixel of every window, of those in the input."""
    rng = np.random.default_rng(s)
    top, left = (np.arange(n) * step - p for n, step, p in ((s.oh, s.sh, s.pt), (s.ow, s.sw, s.pl)))
    first_u, first_v = np.maximum(0, -top), np.maximum(0, -left)
    stop_u, stop_v = np.minimum(s.kh, s.h - top), np.minimum(s.kw, s.w - left)
    shape = (s.n, s.oh, s.ow, s.c)
    u = rng.integers(first_u[:, None, None], stop_u[:, None, None], shape)
    v = rng.integers(first_v[:, None], stop_v[:, None], shape)
    return u * s.kw + v


def upsampling():
    for name, (n, h, w, c), size, tiny in (
        ("twice", (2, 3, 2, 3), (2, 2), True),
        ("row", (1, 2, 3, 1), (1, 3), True),
        ("same", (1, 2, 2, 2), (1, 1), True),
        ("no_images", (0, 2, 2, 2), (2, 2), True),
        ("quads", (1, 2, 2, 8), (2, 3), True),
        ("unet", (2, 15, 17, 64), (2, 2), False),
        ("vector_tail", (1, 9, 8, 35), (3, 2), False),
        ("many", (1, 3, 2, 7), (7, 7), False),
        ("sequence", (3, 41, 1, 20), (5, 1), False),
    ):
        x, dy = normal(n, h, w, c), normal(n, h * size[0], w * size[1], c)
        if name == "twice":
            x[0, 0, 0, 0], x[1, 2, 1, 2] = np.nan, np.inf
        yield Case(f"upsample2d-{name}", Upsample2D(size), (x,), tiny=tiny)
        yield Case(f"upsample2d_dx-{name}", Upsample2DGradient(size), (dy,), tiny=tiny)
    whole = np.arange(12, dtype="int64").reshape(1, 2, 3, 2)
    yield Case("upsample2d-int", Upsample2D((2, 3)), (whole,))
    yield Case("upsample2d-bytes", Upsample2D((2, 1)), (whole.astype("uint8"),))
    yield Case("upsample2d-bool", Upsample2D((1, 2)), (whole % 3 == 0,))


CASES = [case for row in TINY for case in pools(*row, tiny=True)]
CASES += [case for row in LARGE for case in pools(*row, tiny=False)]
CASES += list(upsampling())
