"""The linear maps of Winograd's F(m x m, 3 x 3), in one dimension.

A tile of m outputs of three taps reads m + 2 inputs. Both are polynomials' values in disguise:
evaluate input and kernel at m + 2 points, multiply value by value, and interpolate. In two
dimensions a map is applied to the columns, then to the rows; F(4 x 4, 3 x 3) takes 36 products
instead of 144, F(2 x 2, 3 x 3) 16 instead of 36.

Points are 0, infinity, and pairs +-p, which share their even and their odd part. For m = 4 these
are 1/sqrt(2) and sqrt(2): rounding errors are about seven times smaller than with the usual 1 and
2, at the same cost. With M(x) = x * product of (x^2 - p^2) and R(x) = the same product without the
pair p, over x:

    input    coefficients of M(x) / x at 0; of x * (x +- p) * R at +-p; of M at infinity
    kernel   (g0 + p g1 + p^2 g2) / M'(p); g2 at infinity
    output   y_k = sum over p of p^k m(p); m(infinity) is added to the last

M' is divided out of the kernel, which is transformed once.

The gradient of the kernel is F(3 x 3, m x m): a convolution of the same inputs with the m x m
gradients of the outputs as its kernel, whose results are the 3 x 3 taps. The points are the same,
and so is the map of the inputs, which depends on nothing else.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from nbcnn.kernels.cpu import simd
from nbcnn.kernels.cpu.blocking import Tile

TAPS = 3  # of the kernel, in one dimension


class Form(NamedTuple):
    """Which F(m x m, 3 x 3)."""

    out: int  # m

    @property
    def side(self) -> int:
        """Of a tile of inputs."""
        return self.out + TAPS - 1

    @property
    def points(self) -> int:
        """In two dimensions."""
        return self.side**2

    @property
    def halves(self) -> list[range]:
        """Rows of points, in parts whose numbers stay in registers; pairs are together."""
        return [range(3), range(3, 6)] if self.out == 4 else [range(4)]

    @property
    def pairs(self) -> list[float]:
        return [math.sqrt(0.5), math.sqrt(2.0)] if self.out == 4 else [1.0]

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


F4, F2 = Form(4), Form(2)


class Vectors:
    """Arithmetic on vectors, and the maps."""

    def __init__(self, builder, tile: Tile, form: Form):
        self.b, self.vector, self.form = builder, simd.vector_type(tile.lanes, tile.item), form

    def const(self, value):
        return ir.Constant(self.vector, [value] * self.vector.count)

    def scaled(self, factor, x):
        return x if factor == 1 else self.b.fmul(self.const(factor), x)

    def mul_add(self, factor, x, y):
        """factor * x + y."""
        if factor == 1:
            return self.b.fadd(y, x)
        if factor == -1:
            return self.b.fsub(y, x)
        return simd.multiply_add(self.b, self.const(factor), x, y)

    def sum_of(self, factors, numbers, start=None):
        """start + sum of factor * number; numbers with the factor 1 come first: they cost least."""
        terms = sorted(zip(factors, numbers), key=lambda term: (term[0] != 1, term[0] != -1))
        if start is None:
            (factor, number), *terms = terms
            start = self.scaled(factor, number)
        for factor, number in terms:
            start = self.mul_add(factor, number, start)
        return start

    def input(self, d):
        """Inputs -> values at the points."""
        whole = self.form.rest()
        found = [self.sum_of(whole, d[:-1:2])]
        for p in self.form.pairs:
            rest = self.form.rest(p)
            even, odd = self.sum_of(rest, d[2:-1:2]), self.sum_of(rest, d[1:-2:2])
            found += [self.mul_add(sign * p, odd, even) for sign in (1, -1)]
        return [*found, self.sum_of(whole, d[1::2])]

    def kernel(self, g):
        """Taps, or the gradients of outputs -> values at the points, divided by M'."""
        found = [self.scaled(1 / self.form.norm(0.0), g[0])]
        for p in self.form.pairs:
            norm = self.form.norm(p)
            even = self.sum_of([p**k / norm for k in range(0, len(g), 2)], g[::2])
            odd = self.sum_of([p ** (k - 1) for k in range(1, len(g), 2)], g[1::2])
            found += [self.mul_add(sign * p / norm, odd, even) for sign in (1, -1)]
        return [*found, g[-1]]

    def result(self, m, count):
        """Products, or sums of them -> `count` outputs, or gradients of taps. Products that are
        None are left out.
        """
        pairs = [
            (p, self.b.fadd(*m[k : k + 2]), self.b.fsub(*m[k : k + 2]))
            for p, k in zip(self.form.pairs, range(1, len(m), 2))
            if m[k] is not None
        ]
        found = []
        for k in range(count):
            start = m[0] if k == 0 else m[-1] if k == count - 1 else None
            numbers = [pair[1 + k % 2] for pair in pairs]
            found.append(self.sum_of([pair[0] ** k for pair in pairs], numbers, start))
        return found

    def values(self, transform, load, side, rows):
        """Both ways: side x side numbers -> (point, value) of these rows of points."""
        columns = []
        for j in range(side):
            column = transform([load(i * side + j) for i in range(side)])
            columns.append([column[i] for i in rows])
        for i, row in zip(rows, zip(*columns)):
            for j, value in enumerate(transform(list(row))):
                yield i * self.form.side + j, value

    def results(self, load, count, rows):
        """Both ways: products at these rows of points -> count x count results. Of rows in pairs
        only sum and difference are kept, so all fits into the registers.
        """
        side = self.form.side
        lines = [[None] * count] * side
        for i in sorted(rows, key=lambda i: i in (0, side - 1)):
            lines[i] = self.result([load(i * side + j) for j in range(side)], count)
        columns = [self.result([line[q] for line in lines], count) for q in range(count)]
        return [number for row in zip(*columns) for number in row]
