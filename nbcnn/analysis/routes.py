"""For every operation, how its output's axes read its inputs' (`analysis.links`).

What an operation reads of an input is a product over axes: every link says it for one. Where no row
knows an operation, its output reads all of every input, which is never too little.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbcnn.analysis.links import SAME, Groups, Link, Piece, Route, Slide, Spread, Table
from nbcnn.ops.conv import window_output
from nbcnn.ops.tensor import Constant, Node

Routes = list[Route]
RESHAPES = ("reshape", "flatten", "batch_reshape", "squeeze", "expand_dims")


def routes_of(node: Node, index: int) -> Routes | None:
    """The routes from the node's output to its input `index`; None where the operation is not
    known, or its output does not read the input's values.
    """
    rule = RULES.get(node.op.name)
    if rule is None:
        return None
    x, y = node.inputs[index].shape, node.outputs[0].shape
    return [
        r._replace(link=SAME) if r.link == Slide() and x[r.input] == y[r.output] else r
        for r in rule(node, index)
    ]


def reads(node: Node, index: int) -> bool:
    """Whether values of the input are in the output; what only gradients need is not."""
    return index == 0 or node.op.name not in ONLY_FIRST


def _same(node: Node, index: int) -> Routes:
    """Element by element; inputs are broadcast."""
    x, y = node.inputs[index].shape, node.outputs[0].shape
    shift = len(y) - len(x)
    return [Route(a, a + shift, SAME) for a, n in enumerate(x) if n == y[a + shift]]


def _window(sides: Any, sizes: Any, op: Any, window: Any, dilation: Any) -> list[tuple[int, ...]]:
    """(window, stride, before, dilation) of rows and columns."""
    found: list[tuple[int, ...]] = []
    for axis in (0, 1):
        own = sides if isinstance(sides, str) else sides[axis]
        geometry = (window[axis], op.strides[axis], own, dilation[axis])
        _, before, _ = window_output(sizes[axis], *geometry)
        found.append((window[axis], op.strides[axis], before, dilation[axis]))
    return found


def _images(links: list[Link], channels: Link | None) -> Routes:
    routes = [Route(0, 0, SAME), Route(1, 1, links[0]), Route(2, 2, links[1])]
    return routes if channels is None else [*routes, Route(3, 3, channels)]


def _conv2d(node: Node, index: int) -> Routes:
    if index:
        return []
    op, (x, w) = node.op, node.inputs[:2]
    found = _window(op.padding, x.shape[1:3], op, w.shape[:2], op.dilation)
    return _images([Slide(*g) for g in found], Groups(op.groups) if op.groups > 1 else None)


def _conv2d_dx(node: Node, index: int) -> Routes:
    if index:
        return []
    op, w = node.op, node.inputs[1]
    found = _window(op.padding, op.shape[1:3], op, w.shape[:2], op.dilation)
    return _images([Spread(*g) for g in found], Groups(op.groups) if op.groups > 1 else None)


def _pool(node: Node, index: int) -> Routes:
    op = node.op
    found = _window(op.padding, node.inputs[0].shape[1:3], op, op.window, (1, 1))
    return _images([Slide(*g) for g in found], SAME)


def _pool_dx(node: Node, index: int) -> Routes:
    op = node.op
    found = _window(op.padding, op.shape[1:3], op, op.window, (1, 1))
    return _images([Spread(*g) for g in found], SAME)


def _repeat(node: Node, index: int) -> Routes:
    return _images([Spread(size, size) for size in node.op.size], SAME)


def _repeat_dx(node: Node, index: int) -> Routes:
    return _images([Slide(size, size) for size in node.op.size], SAME)


def _pad(node: Node, index: int) -> Routes:
    return [Route(a, a, Slide(before=before)) for a, (before, _) in enumerate(node.op.widths)]


def _pad_border(node: Node, index: int) -> Routes:
    """Elements of the border are copies of others; of those that are given, nothing of x."""
    op, shape = node.op, node.inputs[0].spec.shape
    if index:
        return []
    if op.mode == "fill":
        return _pad(node, index)
    places = [np.pad(np.arange(n), pair, mode=op.mode) for n, pair in zip(shape, op.widths)]
    return [Route(a, a, _picked(p, shape[a])) for a, p in enumerate(places)]


def _local2d(node: Node, index: int) -> Routes:
    return [] if index else _pool(node, index)[:3]


def _max_unpool2d(node: Node, index: int) -> Routes:
    """A pixel may be the place of each value whose window holds it."""
    op = node.op
    return _images([Spread(*g) for g in zip(op.window, op.strides, op.pads)], SAME)


def _picked(places: Any, size: int) -> Link:
    """Output i reads input places[i]."""
    places = np.asarray(places, dtype=np.int64).reshape(-1)
    steps = np.diff(places)
    if steps.size and (steps == steps[0]).all() and steps[0] > 0:
        return Slide(1, int(steps[0]), -int(places[0]))
    return Table(places[:, None] == np.arange(size))


def _slice(node: Node, index: int) -> Routes:
    shape: Any = node.inputs[0].shape
    places = (range(n)[slice(*r)] for n, r in zip(shape, node.op.ranges))
    return [Route(a, a, _picked(p, n)) for a, (p, n) in enumerate(zip(places, shape))]


def _slice_dx(node: Node, index: int) -> Routes:
    shape: Any = node.outputs[0].shape
    places = [np.arange(n)[slice(*r)] for n, r in zip(shape, node.op.ranges)]
    return [
        Route(a, a, Table(np.arange(n)[:, None] == p))
        for a, (p, n) in enumerate(zip(places, shape))
    ]


def _concat(node: Node, index: int) -> Routes:
    axis: int = node.op.axis
    sizes: list[Any] = [x.shape[axis] for x in node.inputs]
    piece = Piece(sum(sizes[:index]), sizes[index])
    rank = len(node.outputs[0].shape)
    return [Route(a, a, piece if a == axis else SAME) for a in range(rank)]


def _gather(node: Node, index: int) -> Routes:
    """Along its axis it is known what is read where the indices are constant."""
    x, indices = node.inputs
    axis, rank = node.op.axis, len(indices.shape)
    if index:
        return [] if node.op.along else [Route(a, axis + a, SAME) for a in range(rank)]
    if node.op.along:
        return [Route(a, a, SAME) for a in range(len(x.shape)) if a != axis]
    found = [Route(a, a if a < axis else a + rank - 1, SAME) for a in range(len(x.shape))]
    found.pop(axis)
    if isinstance(indices, Constant) and rank == 1:
        found.append(Route(axis, axis, _picked(indices.value, x.spec.shape[axis])))
    return found


def _reduce(node: Node, index: int) -> Routes:
    kept = range(len(node.inputs[0].shape))
    return [Route(a, a, SAME) for a in kept if not node.op.first <= a <= node.op.last]


def _along_last(node: Node, index: int) -> Routes:
    return [Route(a, a, SAME) for a in range(len(node.inputs[0].shape) - 1)]


def _layernorm(node: Node, index: int) -> Routes:
    if index:
        return []
    return [Route(a, a, SAME) for a in range(len(node.inputs[0].shape) - node.op.axes)]


def _matmul(node: Node, index: int) -> Routes:
    """Of a product with a constant matrix, as resizing is, the matrix says what is read."""
    rank = len(node.outputs[0].shape)
    operand, other = node.inputs[index], node.inputs[1 - index] if index < 2 else node.inputs[0]
    own = len(operand.shape)
    if index == 2:
        return [Route(0, rank - 1, SAME)]
    swapped = node.op.tx if index == 0 else node.op.tw
    kept, summed = (own - 2, own - 1) if (index == 0) != swapped else (own - 1, own - 2)
    found = [Route(a, rank - own + a, SAME) for a in range(own - 2)]
    found.append(Route(kept, rank - 2 if index == 0 else rank - 1, SAME))
    if isinstance(other, Constant) and other.value.ndim == 2:
        matrix = other.value if (node.op.tw if index == 0 else not node.op.tx) else other.value.T
        found.append(Route(summed, rank - 1 if index == 0 else rank - 2, Table(matrix != 0)))
    return found


def _transpose(node: Node, index: int) -> Routes:
    return [Route(source, target, SAME) for target, source in enumerate(node.op.perm)]


def _cumulative(node: Node, index: int) -> Routes:
    shape: Any = node.inputs[0].shape
    before = np.tri(shape[node.op.axis], dtype=bool)
    table = Table(before.T if node.op.reverse else before)
    return [Route(a, a, table if a == node.op.axis else SAME) for a in range(len(shape))]


def _fold_planes(node: Node, index: int) -> Routes:
    """Of one volume (1, d, h, w, c), d becomes the images' first axis."""
    op = node.op
    along = Slide(op.taps, op.stride, 0, op.dilation)
    return [Route(1, 0, along), Route(2, 1, SAME), Route(3, 2, SAME)]


ELEMENTWISE = (
    "unary", "binary", "where", "cast", "stop_gradient", "dropout", "custom_gradient", "conv3d",
    "scale_shift", "broadcast_to", "pool_places",
)  # fmt: skip
RULES: dict[str, Callable[[Node, int], Routes]] = {
    **dict.fromkeys(ELEMENTWISE, _same),
    **dict.fromkeys(("softmax", "log_softmax", "argsort", "response_norm"), _along_last),
    "global_response": lambda node, index: [] if index else [Route(0, 0, SAME)],
    "pad_border": _pad_border,
    "local2d": _local2d,
    "max_unpool2d": _max_unpool2d,
    **dict.fromkeys(("maxpool2d", "avgpool2d"), _pool),
    **dict.fromkeys(("maxpool2d_dx", "avgpool2d_dx"), _pool_dx),
    "conv2d": _conv2d,
    "conv2d_dx": _conv2d_dx,
    "upsample2d": _repeat,
    "upsample2d_dx": _repeat_dx,
    "pad": _pad,
    "slice": _slice,
    "slice_dx": _slice_dx,
    "concat": _concat,
    "gather": _gather,
    "reduce": _reduce,
    "layernorm": _layernorm,
    "matmul": _matmul,
    "transpose": _transpose,
    "cumulative": _cumulative,
    "fold_planes": _fold_planes,
}
# Operations whose further inputs only say how to differentiate.
ONLY_FIRST = ("custom_gradient", "conv3d")
