"""Activations on vectors: pip's Numba has no vector math library, so `math.exp` in a loop runs one
number at a time.

    exp(x)  = 2^k * exp(r),  k = round(x / ln 2),  |r| <= ln 2 / 2,  exp(r) by its Taylor series in
    Horner's form sigmoid = 1 / (1 + exp(-x)) tanh    = -e / (2 + e) * sign(x),  e = exp(-2|x|) - 1
    computed without cancellation

Terms up to r^7 (float32) or r^13 (float64) leave an error below half a unit in the last place. NaN
stays NaN.
"""

import math
from functools import cache

from llvmlite import ir

from nbcnn.kernels.cpu import simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.ops.conv_spec import RELU, SIGMOID, TANH


class Numbers:
    """Constants and bit tricks for vectors of one type."""

    def __init__(self, builder, vector):
        self.b, self.vector = builder, vector
        self.single = simd.item_of(vector) == 4
        self.integer = ir.VectorType(ir.IntType(32 if self.single else 64), vector.count)
        self.mantissa, self.bias = (23, 127) if self.single else (52, 1023)
        self.limit = 87.0 if self.single else 708.0  # exp stays a normal number within +-limit
        # ln 2 in two parts, the first with few bits, so that k * first is exact
        self.ln2 = (
            (0.693359375, math.log(2) - 0.693359375)
            if self.single
            else (0.6931471803691238, 1.9082149292705877e-10)
        )

    # With a flag of its own an instruction keeps clear of Numba's fast-math, which would undo the
    # rounding below; the sign of zero is one that does not matter here.

    def fadd(self, x, y):
        return self.b.fadd(x, y, flags=("nsz",))

    def fsub(self, x, y):
        return self.b.fsub(x, y, flags=("nsz",))

    def fmul(self, x, y):
        return self.b.fmul(x, y, flags=("nsz",))

    def fdiv(self, x, y):
        return self.b.fdiv(x, y, flags=("nsz",))

    def const(self, value):
        return ir.Constant(self.vector, [float(value)] * self.vector.count)

    def whole(self, value):
        return ir.Constant(self.integer, [value] * self.vector.count)

    def bits(self, x):
        return self.b.bitcast(x, self.integer)

    def number(self, bits):
        return self.b.bitcast(bits, self.vector)

    def clip(self, x, low, high):
        """x between low and high; NaN stays."""
        low, high = self.const(low), self.const(high)
        x = self.b.select(self.b.fcmp_ordered("<", x, low), low, x)
        return self.b.select(self.b.fcmp_ordered(">", x, high), high, x)

    def split_exp(self, x):
        """(2^k, exp(r) - 1) with exp(x) = 2^k * exp(r)."""
        b = self.b
        # Adding it rounds to an integer. The low bits are then that integer plus the exponent's
        # bias, so that to shift them into place makes 2^k.
        magic = self.const(1.5 * 2.0**self.mantissa + self.bias)
        shifted = simd.multiply_add(b, x, self.const(1 / math.log(2)), magic)
        k = self.fsub(shifted, magic)
        power = self.number(b.shl(self.bits(shifted), self.whole(self.mantissa)))
        r = simd.multiply_add(b, k, self.const(-self.ln2[0]), x)
        r = simd.multiply_add(b, k, self.const(-self.ln2[1]), r)
        terms = 7 if self.single else 13
        total = self.const(1 / math.factorial(terms))
        for n in range(terms - 1, 0, -1):
            total = simd.multiply_add(b, total, r, self.const(1 / math.factorial(n)))
        return power, self.fmul(total, r)

    def exp(self, x):
        power, rest = self.split_exp(self.clip(x, -self.limit, self.limit))
        return simd.multiply_add(self.b, power, rest, power)

    def sigmoid(self, x):
        power, rest = self.split_exp(
            self.clip(self.fsub(self.const(0), x), -self.limit, self.limit)
        )
        one_more = self.fadd(power, self.const(1))
        return self.fdiv(self.const(1), simd.multiply_add(self.b, power, rest, one_more))

    def tanh(self, x):
        b, sign = self.b, self.bits(self.const(-0.0))
        minus_twice = self.number(b.or_(self.bits(self.fadd(x, x)), sign))
        power, rest = self.split_exp(self.clip(minus_twice, -self.limit, 0.0))
        e = simd.multiply_add(b, power, rest, self.fsub(power, self.const(1)))  # exp(-2|x|) - 1
        size = self.fdiv(e, self.fadd(self.const(2), e))
        size = b.and_(self.bits(size), self.whole(2 ** (8 * simd.item_of(self.vector) - 1) - 1))
        return self.number(b.or_(size, b.and_(self.bits(x), sign)))

    def relu(self, x):
        zero = self.const(0)
        return self.b.select(self.b.fcmp_ordered("<", x, zero), zero, x)


FUNCTIONS = {RELU: Numbers.relu, SIGMOID: Numbers.sigmoid, TANH: Numbers.tanh}
# Vectors at a time: their operations alternate, and constants, which do not all have a register,
# are fetched once for all. One: 16 cycles a vector, two: 12, four: 12.
ABREAST = 2


@cache
def activate(tile: Tile):
    """activate(address, count, act): apply an activation of `TAIL_ACTIVATIONS` to `count` numbers,
    in place.
    """
    wide = simd.vector_type(ABREAST * tile.lanes, tile.item)
    vector = simd.vector_type(tile.lanes, tile.item)

    def build(builder, args):
        b, (address, count, act) = builder, args
        whole = b.and_(count, simd.integer(-wide.count))
        rest, left = b.add(address, b.mul(whole, simd.integer(tile.item))), b.sub(count, whole)
        for number, function in FUNCTIONS.items():
            with b.if_then(b.icmp_signed("==", act, simd.integer(number))):
                with simd.loop(b, whole, wide.count) as i:
                    at = b.add(address, b.mul(i, simd.integer(tile.item)))
                    x = simd.load_vector(b, at, wide)
                    simd.store_vector(b, function(Numbers(b, wide), x), at)
                with simd.loop(b, left, tile.lanes) as i:
                    at = b.add(rest, b.mul(i, simd.integer(tile.item)))
                    mask = simd.first_lanes(b, b.sub(left, i), tile.lanes)
                    x = simd.masked_load(b, at, vector, mask)
                    simd.masked_store(b, function(Numbers(b, vector), x), at, mask)

    return simd.emit(types.void, (types.intp,) * 3, build)
