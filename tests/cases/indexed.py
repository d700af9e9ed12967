"""Picking and collecting by index, running sums and products, sorting."""

import numpy as np
from cases.case import FLOATS, Case, Draw, large, normal

from nbcnn.ops.gather import JOINS, Gather, Scatter
from nbcnn.ops.ordering import Argsort, Cumulative

WHOLE = np.arange(6, dtype="int32").reshape(2, 3) - 3
FLAGS = normal(3, 4) > 0
TIES = np.array([[1.0, 3.0, 1.0, 2.0, 3.0, 1.0], [0.0, -0.0, 5.0, np.nan, -np.inf, np.nan]])


def indices(*shape, stop, low=0, dtype="int32", seed=0):
    return np.random.default_rng((seed, *shape)).integers(low, stop, shape).astype(dtype)


def gathers():
    x = normal(2, 5, 3)
    for axis in range(3):
        picked = indices(4, stop=x.shape[axis])
        yield Case(f"gather-axis{axis}", Gather(axis), (x, picked), floats=FLOATS[: 2 - axis % 2])
        shape = tuple(4 if i == axis else n for i, n in enumerate(x.shape))
        picked = indices(*shape, stop=x.shape[axis])
        yield Case(f"gather-along{axis}", Gather(axis, True), (x, picked), floats=FLOATS[:1])
    table = indices(2, 3, stop=5, dtype="int64")
    yield Case("gather-table", Gather(1), (x, table), floats=FLOATS[:1])
    yield Case("gather-number", Gather(1), (x, np.array(3, "int32")), floats=FLOATS[:1])
    outside = np.array([-7, 9, 2, -1], "int32")
    yield Case("gather-outside", Gather(1), (x, outside), floats=FLOATS[:1])
    yield Case("gather-int", Gather(1), (WHOLE, indices(4, stop=3)))
    yield Case("gather-bool", Gather(0), (FLAGS, indices(4, stop=3)))
    yield Case("gather-nothing", Gather(0), (x, indices(0, stop=3)), floats=FLOATS[:1])
    many = indices(9001, stop=70)
    yield large("gather-large", Gather(0), Draw((70, 33)), many)
    yield large("gather-along-large", Gather(0, True), Draw((70, 33)), indices(301, 33, stop=70))


def scatters():
    values = normal(2, 6, 3)
    places = np.array([0, 3, 3, 0, 5, 0], "int32")  # nothing goes to 1, 2 and 4
    for name in JOINS:
        yield Case(f"scatter-{name}", Scatter(1, False, name, 6), (values, places))
        along = indices(2, 6, 3, stop=4)
        op = Scatter(1, True, name, 4)
        yield Case(f"scatter-{name}-along", op, (values, along), floats=FLOATS[:1])
        op = Scatter(1, False, name, 4)
        yield Case(f"scatter-{name}-int", op, (WHOLE, indices(3, stop=4)))
    zeros = np.array([[1.0, 2.0, 0.0, 4.0, 0.0, 0.0]])
    op = Scatter(1, False, "prod", 4)
    yield Case("scatter-prod-zeros", op, (zeros, np.array([0, 0, 0, 1, 2, 2], "int32")))
    outside = np.array([-1, 0, 7, 1, 1, 4], "int32")
    for name in ("sum", "max", "prod"):
        op = Scatter(1, False, name, 4)
        yield Case(f"scatter-{name}-outside", op, (values, outside), floats=FLOATS[:1])
    op = Scatter(0, False, "max", 4)
    yield Case("scatter-max-bool", op, (FLAGS, indices(3, stop=4)))
    yield Case("scatter-max-long", op, (WHOLE.astype("int64"), indices(2, stop=4)))
    op = Scatter(0, False, "sum", 3)
    yield Case("scatter-nothing", op, (normal(0, 3), indices(0, stop=3)), floats=FLOATS[:1])
    op = Scatter(1, False, "sum", 5)
    table = indices(2, 3, stop=5, dtype="int64")
    yield Case("scatter-table", op, (normal(2, 2, 3, 2), table), floats=FLOATS[:1])
    op = Scatter(0, False, "sum", 700)
    yield large("scatter-large", op, Draw((9001, 5)), indices(9001, stop=700))
    op = Scatter(1, False, "sum", 70)
    yield large("scatter-images", op, Draw((40, 301, 7)), indices(301, stop=70))


def running():
    x = normal(2, 5, 3)
    for name in ("sum", "prod"):
        for axis, reverse in ((0, True), (1, False), (2, False), (2, True)):
            op = Cumulative(name, axis, reverse)
            kind = FLOATS if axis == 1 else FLOATS[:1]
            yield Case(f"cumulative-{name}-{axis}{'-reverse' * reverse}", op, (x,), floats=kind)
        yield Case(f"cumulative-{name}-int", Cumulative(name, 1), (WHOLE,))
        yield large(f"cumulative-{name}-columns", Cumulative(name, 1), Draw((3, 40, 2503)))
    yield Case("cumulative-nothing", Cumulative("sum", 0), (normal(0, 3),), floats=FLOATS[:1])
    yield Case("cumulative-empty", Cumulative("sum", 0), (normal(3, 0),), floats=FLOATS[:1])
    yield large("cumulative-sum-rows", Cumulative("sum", 1), Draw((70, 1003)))


def orders():
    x = normal(3, 37)
    for descending in (False, True):
        tail = "-descending" * descending
        yield Case(f"argsort{tail}", Argsort(descending), (x,))
        yield Case(f"argsort-ties{tail}", Argsort(descending), (TIES,), floats=FLOATS[:1])
        yield Case(f"argsort-int{tail}", Argsort(descending), (WHOLE % 2,))
    yield Case("argsort-nothing", Argsort(), (normal(3, 0),), floats=FLOATS[:1])
    yield Case("argsort-single", Argsort(), (normal(3, 1),), floats=FLOATS[:1])
    yield large("argsort-large", Argsort(), np.round(normal(7, 5003) * 8))


CASES = [*gathers(), *scatters(), *running(), *orders()]
