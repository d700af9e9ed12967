"""From elements of a tensor back to the elements of a graph's input that they are made of."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbcnn.analysis.links import SAME, Span
from nbcnn.analysis.routes import RESHAPES, Routes, reads, routes_of
from nbcnn.graph.graph import Graph
from nbcnn.ops.tensor import Node, Tensor


class Extent(NamedTuple):
    """First and last elements along an axis of `size`, or along one that is part of a longer one;
    several intervals at once, empty ones from inf to -inf.
    """

    low: np.ndarray
    high: np.ndarray
    size: int


Axis = tuple[Extent, ...]  # from outside in; the parts of an axis that others were joined to


def whole(shape: Sequence[int], count: int) -> list[Axis]:
    """All elements of all axes, so many times."""
    return [(Extent(np.zeros(count), np.full(count, n - 1.0), n),) for n in shape]


class Reach:
    """What tensors read of one leaf of a graph, which has a batch of one.

    `unknown`: names of operations on the way of which it is not known, and which so count as
    reading everything.
    """

    def __init__(self, source: Tensor, outputs: Sequence[Tensor]):
        self.source = source
        self.nodes = _depending(Graph(list(outputs)).nodes, source)
        self.unknown: set[str] = set()
        self._routes: dict[tuple[int, int], Routes | None] = {}
        self._depends = {id(t) for node in self.nodes for t in node.outputs} | {id(source)}

    def depends(self, tensor: Tensor) -> bool:
        return id(tensor) in self._depends

    # -- intervals on axes without ends ---------------------------------------------------------

    def spans(self, tensor: Tensor, axes: list[Axis], count: int) -> list[Span]:
        """Intervals along the source's axes, from so many intervals along the tensor's."""
        found: dict[int, list[Axis]] = {id(tensor): axes}
        for node in reversed(self.nodes):
            given = [found[id(t)] for t in node.outputs if id(t) in found]
            if not given:
                continue
            for index, x in enumerate(node.inputs):
                if id(x) in self._depends and reads(node, index):
                    back = self._back(node, index, given[0], count)
                    found[id(x)] = _hull(found[id(x)], back) if id(x) in found else back
        return [_flat(axis) for axis in found[id(self.source)]]

    def _back(self, node: Node, index: int, axes: list[Axis], count: int) -> list[Axis]:
        shape = node.inputs[index].spec.shape
        if node.op.name in RESHAPES:
            return _reshaped(axes, node.outputs[0].spec.shape, whole(shape, count))
        back = whole(shape, count)
        for a, b, link in self._routes_of(node, index) or ():
            if link is SAME:
                back[a] = axes[b]
            else:
                back[a] = (Extent(*link.span(*_flat(axes[b]), shape[a]), shape[a]),)
        return _emptied([*back, *axes])[: len(shape)]

    def _routes_of(self, node: Node, index: int) -> Routes | None:
        key = (id(node), index)
        if key not in self._routes:
            found = self._routes[key] = routes_of(node, index)
            if found is None:
                self.unknown.add(node.op.name)
        return self._routes[key]

    # -- what is there --------------------------------------------------------------------------

    def mask(self, tensor: Tensor, mask: np.ndarray) -> np.ndarray:
        """Which elements of the source the chosen elements of the tensor read."""
        found: dict[int, np.ndarray] = {id(tensor): mask}
        for node in reversed(self.nodes):
            given = [found.pop(id(t)) for t in node.outputs if id(t) in found]
            if not given:
                continue
            whole = np.logical_or.reduce(given)
            for index, x in enumerate(node.inputs):
                if id(x) in self._depends and reads(node, index):
                    back = self._mask_back(node, index, whole)
                    found[id(x)] = found[id(x)] | back if id(x) in found else back
        return found.get(id(self.source), np.zeros(self.source.spec.shape, bool))

    def _mask_back(self, node: Node, index: int, mask: np.ndarray) -> np.ndarray:
        shape: Any = node.inputs[index].shape
        if node.op.name in RESHAPES:
            return mask.reshape(shape)
        routes = sorted(self._routes_of(node, index) or (), key=lambda route: route.output)
        routed = [route.output for route in routes]
        mask = np.asarray(mask.any(axis=tuple(b for b in range(mask.ndim) if b not in routed)))
        for place, route in enumerate(routes):
            mask = _through(mask, place, route.link, shape[route.input])
        order = sorted(range(len(routes)), key=lambda place: routes[place].input)
        taken = {route.input for route in routes}
        mask = np.expand_dims(
            mask.transpose(order), tuple(a for a in range(len(shape)) if a not in taken)
        )
        return np.broadcast_to(mask, shape)

    # -- axes -----------------------------------------------------------------------------------

    def follows(self) -> dict[int, dict[int, tuple[int, int]]]:
        """For every tensor, by id: which of its axes follows an axis of the source, and after how
        many elements the pattern repeats: {axis of the source: (axis, period)}.
        """
        shape = self.source.spec.shape
        axes: list[Parts] = [(Part(a, n),) for a, n in enumerate(shape)]
        known = {id(self.source): axes}
        for node in self.nodes:
            for index, x in enumerate(node.inputs):
                if id(x) in known and reads(node, index):
                    after = self._parts(node, index, known[id(x)])
                    for t in node.outputs:
                        known[id(t)] = _joined(known[id(t)], after) if id(t) in known else after
        return {key: _followed(parts, len(shape)) for key, parts in known.items()}

    def _parts(self, node: Node, index: int, parts: list["Parts"]) -> list["Parts"]:
        shape = node.outputs[0].spec.shape
        if node.op.name in RESHAPES:
            return _reshaped_parts(parts, node.inputs[index].spec.shape, shape)
        after: list[Parts] = [(Part(None, n),) for n in shape]
        for a, b, link in self._routes_of(node, index) or ():
            if link is SAME:
                after[b] = parts[a]
            elif len(parts[a]) == 1:
                part = parts[a][0]
                after[b] = (Part(part.source, shape[b], part.period * link.period),)
        return after


class Part(NamedTuple):
    """What an axis is made of, from outside in: an axis that follows one of the source (None: of
    none), its size, and after how many elements the pattern repeats.
    """

    source: int | None
    size: int
    period: int = 1


Parts = tuple[Part, ...]


def _joined(one: list[Parts], other: list[Parts]) -> list[Parts]:
    """Axes of a result of two inputs."""
    found = []
    for a, b in zip(one, other, strict=True):
        if [p.source for p in a] == [p.source for p in b]:
            pairs = zip(a, b, strict=True)
            found.append(tuple(p._replace(period=math.lcm(p.period, q.period)) for p, q in pairs))
        else:
            found.append(b if all(p.source is None for p in a) else a)
    return found


def _followed(axes: list[Parts], rank: int) -> dict[int, tuple[int, int]]:
    """Of an axis that has been joined to others the outermost may count, where they are phases of
    its elements, as transposed convolutions of volumes have them; not where arrays are flattened.
    """
    found: dict[int, tuple[int, int]] = {}
    for axis, parts in enumerate(axes):
        first, *inner = [p for p in parts if p.size > 1] or parts[:1]
        phases = len(axes) == rank and all(p.source is None for p in inner)
        if first.source is not None and (not inner or phases):
            period = first.period * math.prod(p.size for p in inner)
            found.setdefault(first.source, (axis, period))
    return found


def _reshaped_parts(parts: list[Parts], shape: Sequence[int], into: Sequence[int]) -> list[Parts]:
    """The parts along the axes of a reshaped array; nothing is known of those that are cut."""
    found: list[Parts] = [(Part(None, n),) for n in into]
    for own, others in _aligned(into, shape):
        cut = _cut([p for b in others for p in parts[b] if p.size > 1], [into[a] for a in own])
        for a, taken in zip(own, cut or ()):
            found[a] = taken
    return found


def _depending(nodes: Sequence[Node], source: Tensor) -> list[Node]:
    """The nodes whose outputs depend on the source, in order."""
    known, found = {id(source)}, []
    for node in nodes:
        if any(id(t) in known for t in node.inputs):
            known.update(map(id, node.outputs))
            found.append(node)
    return found


def _through(mask: np.ndarray, axis: int, link: Any, size: int) -> np.ndarray:
    """A mask of outputs along an axis as one of inputs."""
    if link is SAME:
        return mask
    matrix = link.matrix(mask.shape[axis], size)
    moved = np.moveaxis(mask, axis, -1)
    return np.moveaxis((moved.astype(np.float32) @ matrix.astype(np.float32)) > 0, -1, axis)


def _emptied(axes: list[Axis]) -> list[Axis]:
    """What is empty along one axis is so along all."""
    empty: Any = np.logical_or.reduce([e.low > e.high for axis in axes for e in axis])
    if not np.any(empty):
        return axes
    return [
        tuple(
            Extent(np.where(empty, np.inf, e.low), np.where(empty, -np.inf, e.high), e.size)
            for e in axis
        )
        for axis in axes
    ]


def _hull(one: list[Axis], other: list[Axis]) -> list[Axis]:
    """Intervals that hold both."""
    found: list[Axis] = []
    for a, b in zip(one, other, strict=True):
        if [e.size for e in a] != [e.size for e in b]:
            size = math.prod(e.size for e in a)
            a, b = (Extent(*_flat(a), size),), (Extent(*_flat(b), size),)
        pairs = zip(a, b, strict=True)
        found.append(
            tuple(
                Extent(np.minimum(p.low, q.low), np.maximum(p.high, q.high), p.size)
                for p, q in pairs
            )
        )
    return found


def _flat(axis: Axis) -> Span:
    """The interval that holds all elements of a joined axis. What lies past the ends of its inner
    parts is left out.
    """
    low, high = axis[0].low, axis[0].high
    for e in axis[1:]:
        low = low * e.size + np.clip(e.low, 0, e.size - 1)
        high = high * e.size + np.clip(e.high, 0, e.size - 1)
    return low, high


def _blocks(x: Sequence[int], y: Sequence[int]) -> list[tuple[range, range]]:
    """Axes of x and of y that hold the same elements, in the smallest blocks."""
    found, a, b = [], 0, 0
    while a < len(x) or b < len(y):
        i, j = a, b
        left = x[a] if a < len(x) else 1
        right = y[b] if b < len(y) else 1
        a, b = min(a + 1, len(x)), min(b + 1, len(y))
        while left != right:
            if left < right:
                left, a = left * x[a], a + 1
            else:
                right, b = right * y[b], b + 1
        found.append((range(i, a), range(j, b)))
    return found


def _aligned(x: Any, y: Any) -> list[tuple[list[int], list[int]]]:
    """Blocks of axes of two shapes of the same elements; axes of size 1 are in none."""
    xs, ys = ([a for a, n in enumerate(shape) if n != 1] for shape in (x, y))
    blocks = _blocks([x[a] for a in xs], [y[b] for b in ys])
    return [([xs[k] for k in i], [ys[k] for k in j]) for i, j in blocks]


def _reshaped(axes: list[Axis], shape: Sequence[int], back: list[Axis]) -> list[Axis]:
    """Intervals along other axes, of which all elements are given, of what lies in intervals along
    those of `shape`.
    """
    into = [axis[0].size for axis in back]
    for own, others in _aligned(into, shape):
        parts = [e for b in others for e in axes[b] if e.size > 1]
        if any(not e.size for b in others for e in axes[b]):
            continue
        cut = _cut(parts, [into[a] for a in own])
        if cut is None:
            cut = _split(tuple(parts), [into[a] for a in own])
        for a, axis in zip(own, cut, strict=True):
            back[a] = axis
    return _emptied([*back, *axes])[: len(into)]


def _cut(parts: Sequence[Any], sizes: Sequence[int]) -> list[Any] | None:
    """The parts, in as many neighbours as make each size; None where one would be cut."""
    left, found = list(parts), []
    for n in sizes:
        taken: list[Any] = []
        while left and math.prod(p.size for p in taken) < n:
            taken.append(left.pop(0))
        if math.prod(p.size for p in taken) != n:
            return None
        found.append(tuple(taken))
    return found


def _split(parts: Axis, sizes: Sequence[int]) -> list[Axis]:
    """As `_cut`, by intervals of the elements in a row."""
    low, high = _flat(parts)
    empty = low > high
    low, high = np.where(empty, 0, low), np.where(empty, 0, high)
    found: list[Axis] = []
    for place, n in enumerate(sizes):
        inner = math.prod(sizes[place + 1 :])
        first, last = np.floor(low / inner), np.floor(high / inner)
        found.append((Extent(first, last, n),))
        several = first < last
        low = np.where(several, 0, low - first * inner)
        high = np.where(several, inner - 1, high - first * inner)
    return found
