"""The linear maps of Winograd's F(m, r): m outputs of a kernel of r taps from m + r - 1 products.

Inputs and kernel are polynomials' values in disguise: evaluate both at m + r - 1 points, multiply
value by value, and interpolate. In two dimensions one map is applied to the columns of a tile, one
to its rows, and they need not be the same: F(4 x 4, 3 x 3) takes 36 products instead of 144,
F(4 x 4, 5 x 5) 64 instead of 400, F(1 x 4, 1 x 7) 10 instead of 28. An axis with one tap and one
output is left as it is.

Points are infinity, pairs +-p, which share their even and their odd part, and zero where their
number is even. With M(x) = product of (x - point) over the finite points, and R(x) = product of
(x^2 - q^2) over the pairs but +-p:

    input    coefficients of M(x) / (x - p) at p, which is (x + p) * R, times x where zero is a
             point; of M at infinity
    kernel   (g0 + p g1 + p^2 g2 ...) / M'(p); the last tap at infinity
    output   y_k = sum over p of p^k m(p); m(infinity) is added to the last

M' is divided out of the kernel, which is transformed once. The points decide about rounding errors:
they are small where no value outgrows the others, so pairs are p and 1 / p (`PAIRS`). With
1/sqrt(2) and sqrt(2) they are about seven times smaller than with the usual 1 and 2.

The gradient of the kernel is F(r, m): a convolution of the same inputs with the m gradients of the
outputs as its kernel, whose results are the r taps. The points are the same, and so is the map of
the inputs, which depends on nothing else.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile

# The positive points, by the number of all points. Those of 8 and 10 have the least error among
# some thousand sets; 0.5, 1, 2 have one and a half times as much.
PAIRS = {
    4: (1.0,),
    6: (math.sqrt(0.5), math.sqrt(2.0)),
    8: (0.55, 1.0, 1.8),
    10: (0.4, 0.8, 1.25, 2.4),
}
NUMBERS = 24  # of a part of a tile's points that stay in registers


class Axis(NamedTuple):
    """F(out, taps)."""

    out: int
    taps: int

    @property
    def side(self) -> int:
        """Inputs, and points."""
        return self.out + self.taps - 1

    @property
    def plain(self) -> bool:
        """Whether nothing is transformed."""
        return self.taps == 1

    @property
    def pairs(self) -> tuple[float, ...]:
        return PAIRS[self.side]

    @property
    def groups(self) -> list[range]:
        """Points that are evaluated together: the zero is with the first pair, infinity with the
        last.
        """
        if self.plain:
            return [range(self.side)]
        starts = [0, *range(3, self.side - 1, 2)]
        return [range(*ends) for ends in zip(starts, [*starts[1:], self.side])]

    def rest(self, without: float | None = None) -> list[float]:
        """Coefficients of the product of (x^2 - p^2) over the pairs, in powers of x^2."""
        found = np.ones(1)
        for p in self.pairs:
            if p != without:
                found = np.convolve(found, [-(p**2), 1.0])
        return [float(x) for x in found.round(12)]

    def norm(self, p: float) -> float:
        """M'(p)."""
        coefficients = self.rest()
        return round(sum((2 * k + 1) * a * p ** (2 * k) for k, a in enumerate(coefficients)), 12)


class Form(NamedTuple):
    """An F(m, r) for each dimension."""

    rows: Axis
    columns: Axis

    @property
    def points(self) -> int:
        return self.rows.side * self.columns.side

    @property
    def outputs(self) -> int:
        return self.rows.out * self.columns.out

    @property
    def taps(self) -> int:
        return self.rows.taps * self.columns.taps

    @property
    def parts(self) -> list[range]:
        """Rows of points, in parts whose numbers stay in registers."""
        return self.split(self.columns.side)

    def split(self, across: int) -> list[range]:
        """Rows of points in parts of not too many rows of `across` numbers; pairs are together."""
        found: list[range] = []
        for group in self.rows.groups:
            start = found[-1].start if found else 0
            if found and (group.stop - start) * across <= NUMBERS:
                found[-1] = range(start, group.stop)
            else:
                found.append(group)
        return found


class _Axis:
    """The maps of one dimension, on vectors."""

    def __init__(self, builder, vector, axis: Axis):
        self.b, self.vector, self.axis = builder, vector, axis

    def const(self, value):
        return ir.Constant(self.vector, [value] * self.vector.count)

    def mul_add(self, factor, x, y):
        """factor * x + y, where y may be None."""
        if y is None:
            return x if factor == 1 else self.b.fmul(self.const(factor), x)
        if factor == 1:
            return self.b.fadd(y, x)
        if factor == -1:
            return self.b.fsub(y, x)
        return simd.multiply_add(self.b, self.const(factor), x, y)

    def sum_of(self, factors, numbers):
        """Sum of factor * number; numbers with the factor 1 come first: they cost least."""
        terms = sorted(zip(factors, numbers), key=lambda term: (term[0] != 1, term[0] != -1))
        found = None
        for factor, number in terms:
            found = self.mul_add(factor, number, found)
        return found

    def input(self, d):
        """Inputs -> values at the points."""
        if self.axis.plain:
            return d
        whole = self.axis.rest()
        found = [self.sum_of(whole, d[:-1:2])]
        for p in self.axis.pairs:
            rest = self.axis.rest(p)
            even, odd = self.sum_of(rest, d[2:-1:2]), self.sum_of(rest, d[1:-2:2])
            found += [self.mul_add(sign * p, odd, even) for sign in (1, -1)]
        return [*found, self.sum_of(whole, d[1::2])]

    def kernel(self, g):
        """Taps, or the gradients of outputs -> values at the points, divided by M'."""
        if self.axis.plain:
            return g
        found = [self.mul_add(1 / self.axis.norm(0.0), g[0], None)]
        for p in self.axis.pairs:
            norm = self.axis.norm(p)
            even = self.sum_of([p**k / norm for k in range(0, len(g), 2)], g[::2])
            odd = self.sum_of([p ** (k - 1) for k in range(1, len(g), 2)], g[1::2])
            found += [self.mul_add(sign * p / norm, odd, even) for sign in (1, -1)]
        return [*found, g[-1]]

    def add_results(self, number, lines, results):
        """Add the products of a group of points to the results, outputs or gradients of taps. Both
        are rows of numbers; a row of results is None before its first group.
        """
        if self.axis.plain:
            results[:] = lines
            return
        ends = [(0, lines[0])] if number == 0 else []
        if number == len(self.axis.groups) - 1:
            ends.append((len(results) - 1, lines[-1]))
        plus, minus = lines[1:3] if number == 0 else lines[:2]
        parity = [
            [add(*numbers) for numbers in zip(plus, minus)] for add in (self.b.fadd, self.b.fsub)
        ]
        p = self.axis.pairs[number]
        terms = [*ends, *((k, parity[k % 2], p**k) for k in range(len(results)))]
        for k, line, *factor in terms:
            before = results[k] or [None] * len(line)
            results[k] = [self.mul_add(*(factor or [1]), *pair) for pair in zip(line, before)]

    def results(self, products, count):
        """Products, or sums of them -> `count` outputs, or gradients of taps."""
        found = [None] * count
        for number, group in enumerate(self.axis.groups):
            self.add_results(number, [[products[k]] for k in group], found)
        return [row[0] for row in found]


class Vectors:
    """The maps of tiles, emitted; a part is some rows of points (`Form.parts`)."""

    def __init__(self, builder, tile: Tile, form: Form):
        self.b, self.vector, self.form = builder, simd.vector_type(tile.lanes, tile.item), form
        self.rows, self.columns = (_Axis(builder, self.vector, axis) for axis in form)

    def input(self, load, part):
        """(point, value) from the inputs of a tile."""
        sides = self.form.rows.side, self.form.columns.side
        return self._values(load, sides, self.rows.input, self.columns.input, part)

    def kernel(self, load, sides, part):
        """(point, value) from the taps of a kernel, or from the gradients of a tile of outputs."""
        return self._values(load, sides, self.rows.kernel, self.columns.kernel, part)

    def _values(self, load, sides, into_rows, into_columns, part):
        columns = []
        for j in range(sides[1]):
            column = into_rows([load(i * sides[1] + j) for i in range(sides[0])])
            columns.append([column[i] for i in part])
        for i, row in zip(part, zip(*columns)):
            for j, value in enumerate(into_columns(list(row))):
                yield i * self.form.columns.side + j, value

    def results(self, load, sides, part):
        """Outputs of a tile, or gradients of taps, from the products at a part of the points. Each
        group of rows is added to the results at once, so all fits into the registers.
        """
        found, side = [None] * sides[0], self.form.columns.side
        for number, group in enumerate(self.form.rows.groups):
            if group.start in part:
                products = [[load(i * side + j) for j in range(side)] for i in group]
                lines = [self.columns.results(line, sides[1]) for line in products]
                self.rows.add_results(number, lines, found)
        return [number for row in found for number in row]
