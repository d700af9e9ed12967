"""Moving elements: transpose, slice, pad, broadcast, concatenate."""

import numpy as np
from cases.case import Case, Draw, large, normal

from nbcnn.ops.conv3d import FoldPlanes
from nbcnn.ops.shape import BroadcastTo, Concat, Pad, Slice, SliceGradient, Transpose

WHOLE = np.arange(6, dtype="int32").reshape(2, 3)
FLAGS = normal(3, 4) > 0
ALL = (None, None, None)


def transposes():
    x = normal(2, 3, 4, 5)
    for perm in ((0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3)):
        yield Case("transpose-" + "".join(map(str, perm)), Transpose(perm), (x,))
    yield Case("transpose-bool", Transpose((1, 0)), (FLAGS,))
    yield Case("transpose-int", Transpose((1, 0)), (WHOLE,))
    yield Case("transpose-empty", Transpose((1, 0)), (normal(0, 3),))
    yield Case("transpose-scalar", Transpose(()), (np.array(3.0),))
    for name, shape, perm in (
        ("channels_first", (3, 17, 19, 33), (0, 3, 1, 2)),
        ("channels_last", (3, 33, 17, 19), (0, 2, 3, 1)),
        ("matrix", (130, 140), (1, 0)),
        ("narrow", (5003, 7), (1, 0)),
        ("woven_image", (2, 3, 17, 19), (0, 2, 3, 1)),
        ("woven_groups", (3, 5, 2, 21), (0, 1, 3, 2)),
        ("woven_parts", (2, 4, 9001), (0, 2, 1)),
        ("six_axes", (2, 3, 4, 5, 6, 7), (4, 1, 5, 0, 3, 2)),
    ):
        yield large(f"transpose-{name}", Transpose(perm), Draw(shape))
    yield large(
        "transpose-bytes", Transpose((1, 0)), np.arange(40 * 50, dtype="uint8").reshape(40, 50)
    )


def slices():
    x = normal(2, 3, 4, 5)
    for name, ranges in (
        ("mixed", (ALL, (2, None, -1), (1, 4, 2), (0, 4, 1))),
        ("all", (ALL,) * 4),
        ("one", ((1, 2, 1),) * 4),
        ("reversed", ((None, None, -1),) * 4),
        ("negative", ((-1, None, None), (-3, -1, 1), ALL, (None, None, -2))),
        ("nothing", ((1, 1, 1), ALL, ALL, ALL)),
    ):
        cut = x[tuple(slice(*r) for r in ranges)]
        yield Case(f"slice-{name}", Slice(ranges), (x,))
        yield Case(f"slice_dx-{name}", SliceGradient(ranges, x.shape), (cut,))
    quads = (ALL, (1, 3, 1), (4, 8, 1))
    yield Case("slice-quads", Slice(quads), (normal(2, 4, 12),))
    yield Case("slice_dx-quads", SliceGradient(quads, (2, 4, 12)), (normal(2, 2, 4),))
    yield Case("slice-int", Slice(((1, None, None), (None, None, 2))), (WHOLE,))
    whole, ranges = (5, 30, 31, 17), (ALL, (1, -1, 1), (0, None, 2), (3, 16, 1))
    size = normal(*whole)[tuple(slice(*r) for r in ranges)].shape
    yield large("slice-large", Slice(ranges), Draw(whole))
    yield large("slice_dx-large", SliceGradient(ranges, whole), Draw(size))


def pads():
    x = normal(2, 3, 4, 5)
    yield Case("pad-value", Pad(((0, 0), (1, 2), (0, 1), (3, 0)), -1.5), (x,))
    yield Case("pad-nothing", Pad(((0, 0),) * 4), (x,))
    yield Case("pad-empty", Pad(((1, 1), (0, 0)), 2.0), (normal(0, 3),))
    yield Case("pad-int", Pad(((1, 0), (0, 1)), 7.0), (WHOLE,))
    yield Case("pad-infinite", Pad(((1, 0), (0, 1)), float("-inf")), (normal(2, 2),))
    yield large("pad-images", Pad(((0, 0), (1, 1), (2, 1), (0, 0))), Draw((3, 28, 28, 17)))


def broadcasts():
    yield Case("broadcast_to-rows", BroadcastTo((2, 3, 4)), (normal(3, 1),))
    yield Case("broadcast_to-number", BroadcastTo((2, 3)), (np.array(1.5),))
    yield Case("broadcast_to-same", BroadcastTo((2, 3)), (WHOLE,))
    yield Case("broadcast_to-nothing", BroadcastTo((0, 3)), (normal(1, 3),))
    yield large("broadcast_to-pixels", BroadcastTo((3, 40, 41, 17)), Draw((3, 1, 1, 17)))
    yield large("broadcast_to-channels", BroadcastTo((3, 40, 41, 17)), Draw((40, 41, 1)))


def folds():
    x = normal(2, 7, 2, 3, 4)
    yield Case("fold_planes-taps", FoldPlanes(5, 3), (x,))
    yield Case("fold_planes-apart", FoldPlanes(2, 3, 2, 2), (x,))
    yield Case("fold_planes-backwards", FoldPlanes(3, 2, 1, 3, 2, backwards=True), (x,))
    yield large("fold_planes-volumes", FoldPlanes(6, 3), Draw((2, 8, 28, 28, 17)))


def concats():
    for axis in range(3):
        shapes = [tuple(n + k * (i == axis) for i, n in enumerate((2, 3, 2))) for k in range(3)]
        pieces = tuple(normal(*shape, seed=i) for i, shape in enumerate(shapes))
        yield Case(f"concat-{axis}", Concat(axis), pieces)
    yield Case("concat-quads", Concat(2), (normal(2, 3, 4), normal(2, 3, 8)))
    yield Case("concat-mixed", Concat(0), (normal(2, 3), WHOLE))
    yield Case("concat-int", Concat(1), (WHOLE, WHOLE[:, :1]))
    yield Case("concat-single", Concat(0), (normal(2, 3),))
    yield Case("concat-empty_piece", Concat(0), (normal(0, 3), normal(2, 3)))
    images = Draw((3, 28, 29, 16)), Draw((3, 28, 29, 17), 1), Draw((3, 28, 29, 1), 2)
    yield large("concat-channels", Concat(3), *images)
    many = [Draw((40, 19, c), i) for i, c in enumerate((5, 64, 1, 17, 130, 3))]
    yield large("concat-many_pieces", Concat(2), *many)
    yield large("concat-whole", Concat(1), *(np.arange(60 * c).reshape(60, c) for c in (3, 40)))
    yield large("concat-long", Concat(1), Draw((3, 9001)), Draw((3, 8002), 1))
    yield large("concat-rows", Concat(0), Draw((2001, 17)), Draw((1, 17), 1))


CASES = [*transposes(), *slices(), *pads(), *broadcasts(), *folds(), *concats()]
