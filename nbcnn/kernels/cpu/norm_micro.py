"""The passes of batch normalization over a slab of rows, as vector code (see `row_sweep`).

Sums go by slabs of a few rows: four values of a column are added to each other before they are
added to the running sum. The forward pass and relu's slope compute the same expression in the same
order, (x - origin) scale + shift, so that the gradient finds relu open exactly where it was.
"""

from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.kernels.cpu.row_sweep import sweep
from nbcnn.kernels.cpu.vector_math import Numbers
from nbcnn.ops.conv_spec import LINEAR, RELU, SIGMOID, TANH


def zero(lanes):
    return ir.Constant(lanes.vector, [0.0] * lanes.vector.count)


def difference(b, x, y):
    return b.fsub(x, y, flags=("nsz",))  # a flag of its own: not to be merged with what follows


def _product(b, x, y):
    return b.fmul(x, y, flags=("nsz",))


def _sum(b, values):
    while len(values) > 1:
        pairs = [b.fadd(x, y) for x, y in zip(values[::2], values[1::2])]
        values = pairs + values[2 * len(pairs) :]
    return values[0]


def _add_to(b, lanes, address, value):
    lanes.store(b.fadd(lanes.load(address), value), address)


def activated(b, lanes, act: int, value):
    numbers = Numbers(b, lanes.vector)
    functions = {RELU: numbers.relu, SIGMOID: numbers.sigmoid, TANH: numbers.tanh}
    return functions[act](value) if act else value


def _slope(b, lanes, act: int, y, dy):
    """dy act'(y)."""
    if act == LINEAR:
        return dy
    one = ir.Constant(lanes.vector, [1.0] * lanes.vector.count)
    if act == RELU:
        return b.select(b.fcmp_ordered(">", y, zero(lanes)), dy, zero(lanes))
    if act == SIGMOID:
        return _product(b, dy, _product(b, y, difference(b, one, y)))
    assert act == TANH
    return _product(b, dy, difference(b, one, _product(b, y, y)))


def slope_of(b, lanes, act: int, centered, scale, shift, dy):
    """dy act'(y), where y is what `line` has made of a number before the activation."""
    if act == LINEAR:
        return dy
    return _slope(b, lanes, act, simd.multiply_add(b, centered, scale, shift), dy)


@cache
def moments(tile: Tile):
    """moments(x, origin, first, second, rows, width, last): add x - origin and its square."""

    def body(b, lanes, streams, columns):
        (x,), (origin, first, second) = streams, columns
        start, squares = lanes.load(origin), lanes.load(second)
        values = [difference(b, lanes.load(at), start) for at in x]
        for value in values:
            squares = simd.multiply_add(b, value, value, squares)
        _add_to(b, lanes, first, _sum(b, values))
        lanes.store(squares, second)

    return sweep(tile, (True,), 3, body)


@cache
def line(tile: Tile, act: int, residual: bool, past: bool):
    """line(x, added, y, origin, scale, shift, rows, width, last). `past`: y is written past the
    caches.
    """

    def body(b, lanes, streams, columns):
        x, added, y = streams
        origin, scale, shift = map(lanes.load, columns)
        values = [difference(b, lanes.load(at), origin) for at in x]
        values = [simd.multiply_add(b, value, scale, shift) for value in values]
        if residual:
            values = [b.fadd(v, lanes.load(at)) for v, at in zip(values, added)]
        for value, at in zip(values, y):
            lanes.write(activated(b, lanes, act, value), at)

    return sweep(tile, (True, residual, not past), 3, body, past)


@cache
def gradient_sums(tile: Tile, act: int, through_output: bool, joined: bool, shared: bool):
    """gradient_sums(x, dy, y, more, g, origin, scale, shift, first, second, rows, width, last): add
    g and g (x - origin); `joined`: dy + more is the gradient; `shared`: write g.
    """

    def body(b, lanes, streams, columns):
        x, dy, y, more, g = streams
        origin, scale, shift = map(lanes.load, columns[:3])
        products, slopes = lanes.load(columns[4]), []
        for r, at in enumerate(x):
            centered, slope = difference(b, lanes.load(at), origin), lanes.load(dy[r])
            if joined:
                slope = b.fadd(slope, lanes.load(more[r]))
            if through_output:
                slope = _slope(b, lanes, act, lanes.load(y[r]), slope)
            else:
                slope = slope_of(b, lanes, act, centered, scale, shift, slope)
            products = simd.multiply_add(b, slope, centered, products)
            slopes.append(slope)
        if shared:
            for slope, at in zip(slopes, g):
                lanes.store(slope, at)
        _add_to(b, lanes, columns[3], _sum(b, slopes))
        lanes.store(products, columns[4])

    streams = (True, True, through_output, joined, shared)
    return sweep(tile, streams, 5, body)


@cache
def gradient(tile: Tile, act: int, through_output: bool, past: bool):
    """gradient(x, dy, y, dx, origin, scale, shift, a, b, c, rows, width, last): dx = a g +
    b (x - origin) + c, which `past` has written past the caches.
    """

    def body(b, lanes, streams, columns):
        x, dy, y, dx = streams
        origin, scale, shift, of_g, of_x, rest = map(lanes.load, columns)
        results = []
        for r, at in enumerate(x):
            centered, slope = difference(b, lanes.load(at), origin), lanes.load(dy[r])
            if through_output:
                slope = _slope(b, lanes, act, lanes.load(y[r]), slope)
            else:
                slope = slope_of(b, lanes, act, centered, scale, shift, slope)
            value = simd.multiply_add(b, centered, of_x, rest)
            results.append(simd.multiply_add(b, slope, of_g, value))
        for value, at in zip(results, dx):
            lanes.write(value, at)

    return sweep(tile, (True, True, through_output, not past), 6, body, past)
