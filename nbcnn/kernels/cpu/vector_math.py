"""Elementary functions and activations that run in vectors: pip's Numba has no vector math library,
so `math.exp` in a loop is a call per number.

`Numbers` writes straight arithmetic, for vectors or for single numbers: reduce the argument to a
small interval by exact bit operations, evaluate a polynomial there, put the exponent back. Emitted
for single numbers it makes functions for plain loops (`formula`, `elementary`), which LLVM turns
into vectors as wide as the machine's: sigmoid takes 15 cycles per vector of 16 like that, 14.5
where the vectors are written out, two or four abreast.

    exp(x)     = 2^k exp(r),  k = round(x / ln 2),  |r| <= ln 2 / 2
    sigmoid(x) = 1 / (1 + exp(-x))
    tanh(x)    = -e / (2 + e) sign(x),  e = exp(-2|x|) - 1 computed without cancellation
    log(x)     = e ln 2 + log(1 + f),  x = 2^e (1 + f),  sqrt(1/2) <= 1 + f <= sqrt(2)
    cdf(x)     = t for x < 0, else 1 - t,  t = exp(-x^2 / 2) W(|x|): the normal distribution's

Polynomials are minimax fits for float32 (exp's for float64 is a Taylor series), with errors below
half a unit in the last place. All results stay within about 2e-7 relative of the true value; cdf
within 1e-7 absolutely, so that gelu, unlike by 1 + erf, keeps its digits at negative numbers. NaN
and infinities behave as in IEEE arithmetic. In float64, functions without a vector form are those
of `math`.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit, simd, types
from nbcnn.kernels.cpu.blocking import Tile
from nbcnn.ops.conv_spec import GELU, HARD_SILU, RELU, RELU6, SIGMOID, SILU, TANH

# (exp(r) - 1) / r for |r| <= log(2) / 2
EXP_SINGLE = (
    1.0, 0.5000000065712615, 0.16666538015258303, 0.04166626653980472, 0.008367246786852375,
    0.001394759807623686,
)  # fmt: skip
EXP_DOUBLE = tuple(1 / math.factorial(n) for n in range(1, 14))
# (2^f - 1) / f for |f| <= 1/2
POWER_SINGLE = (
    0.6931469775976778, 0.2402224208310991, 0.05550733744470765, 0.009671512785893404,
    0.0013264727253199907,
)  # fmt: skip
POWER_DOUBLE = tuple(math.log(2) ** n / math.factorial(n) for n in range(1, 15))
# (log(1 + f) - f + f^2 / 2) / f^3 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG = (
    0.33333316725816947, -0.2500081040514598, 0.20002286274954773, -0.1662455404365753,
    0.14181191937809656, -0.13128754800464615, 0.1288164749503939, -0.07859611511544169,
)  # fmt: skip
# erf(x) / x in x^2 for |x| <= 1, and -log(erfc(x)) for 1 <= x <= 4
ERF_NEAR = (
    1.1283791659137676, -0.3761262713607933, 0.11283600177592669, -0.026854444649186873,
    0.005189535450255598, -0.0008020842268895368, 7.889122837869268e-05,
)  # fmt: skip
ERF_FAR = (
    -0.00018846659939697474, 1.1295803061822518, 0.6332164064312553, 0.10842209019324275,
    -0.025210334382915055, 0.004205282955701315, -0.00044147232496449454, 2.1697589269481378e-05,
)  # fmt: skip
# exp(x^2 / 2) cdf(-x) for 0 <= x <= 5.5, where errors count as much as exp(-x^2 / 2)
TAIL, TAIL_END = (
    0.4999999701976776, -0.3989405930042267, 0.24997256696224213, -0.13280579447746277,
    0.06192393600940704, -0.025471823289990425, 0.009003852494060993, -0.0025900930631905794,
    0.0005636535934172571, -8.477117080474272e-05, 7.708799785177689e-06, -3.1554407087242e-07,
), 5.5  # fmt: skip
TINY = 1.1754943508222875e-38  # smallest normal float32


class Numbers:
    """Arithmetic and functions of numbers of one type, `kind`: a vector's or a single number's."""

    def __init__(self, builder, kind):
        self.b, self.kind = builder, kind
        self.single = simd.item_of(kind) == 4
        word = ir.IntType(32 if self.single else 64)
        self.count = getattr(kind, "count", 0)
        self.integer = ir.VectorType(word, self.count) if self.count else word
        self.mantissa, self.bias = (23, 127) if self.single else (52, 1023)
        self.limit = 87.0 if self.single else 708.0  # exp stays a normal number within +-limit
        self.overflow = 89.0 if self.single else 710.0  # exp is infinite here
        self.series = EXP_SINGLE if self.single else EXP_DOUBLE
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

    def fma(self, x, y, z):
        return simd.multiply_add(self.b, x, y, z)

    def const(self, value):
        value = float(value)
        return ir.Constant(self.kind, [value] * self.count if self.count else value)

    def whole(self, value):
        return ir.Constant(self.integer, [value] * self.count if self.count else value)

    def bits(self, x):
        return self.b.bitcast(x, self.integer)

    def number(self, bits):
        return self.b.bitcast(bits, self.kind)

    def where(self, x, relation, y, then, otherwise):
        """`then` where x and y are so related, `otherwise` where not or where one is NaN."""
        return self.b.select(self.b.fcmp_ordered(relation, x, y), then, otherwise)

    def clip(self, x, low, high):
        """x between low and high; NaN stays."""
        low, high = self.const(low), self.const(high)
        x = self.where(x, "<", low, low, x)
        return self.where(x, ">", high, high, x)

    def size(self, x):
        """|x|."""
        all_but_sign = (1 << (31 if self.single else 63)) - 1
        return self.number(self.b.and_(self.bits(x), self.whole(all_but_sign)))

    def horner(self, x, coefficients):
        """The polynomial with these coefficients, lowest first."""
        total = self.const(coefficients[-1])
        for value in coefficients[-2::-1]:
            total = self.fma(total, x, self.const(value))
        return total

    def split(self, x, more=0):
        """(k + more in the lowest bits, r) with exp(x) = 2^k exp(r)."""
        # Adding it rounds to an integer, which the low bits then are, plus `more`.
        magic = self.const(1.5 * 2.0**self.mantissa + more)
        shifted = self.fma(x, self.const(1 / math.log(2)), magic)
        k = self.fsub(shifted, magic)
        r = self.fma(k, self.const(-self.ln2[0]), x)
        return self.bits(shifted), self.fma(k, self.const(-self.ln2[1]), r)

    def power_and_rest(self, x):
        """(2^k, r) with exp(x) = 2^k exp(r); -limit <= x <= overflow, where 2^k is infinite."""
        bits, r = self.split(x, self.bias)  # with the bias, shifting k into place makes 2^k
        return self.number(self.b.shl(bits, self.whole(self.mantissa))), r

    def power(self, k):
        return self.number(
            self.b.shl(self.b.add(k, self.whole(self.bias)), self.whole(self.mantissa))
        )

    def exp_near(self, r):
        return self.fma(r, self.horner(r, self.series), self.const(1))

    def exp(self, x):
        b, m = self.b, self.mantissa
        bits, r = self.split(self.clip(x, -self.limit - m + 6, self.overflow))
        magic = self.bits(self.const(1.5 * 2.0**m))
        k = b.sub(bits, magic)
        half = b.ashr(k, self.whole(1))  # in two steps: neither 2^128 nor 2^-150 is a normal number
        return self.fmul(self.fmul(self.exp_near(r), self.power(half)), self.power(b.sub(k, half)))

    def expm1(self, x):
        b = self.b
        bits, r = self.split(self.clip(x, -2 * self.mantissa, self.overflow))
        k = b.sub(bits, self.bits(self.const(1.5 * 2.0**self.mantissa)))
        half = self.power(b.sub(k, self.whole(1)))
        rest = self.fmul(r, self.horner(r, self.series))
        y = self.fma(half, rest, self.fsub(half, self.const(0.5)))
        return self.fmul(y, self.const(2))

    def sigmoid(self, x):
        x = self.clip(self.fsub(self.const(0), x), -self.limit, self.overflow)
        power, r = self.power_and_rest(x)
        return self.fdiv(self.const(1), self.fma(power, self.exp_near(r), self.const(1)))

    def tanh(self, x):
        b, sign = self.b, self.bits(self.const(-0.0))
        minus_twice = self.number(b.or_(self.bits(self.fadd(x, x)), sign))
        power, r = self.power_and_rest(self.clip(minus_twice, -self.limit, 0.0))
        rest = self.fmul(r, self.horner(r, self.series))
        e = self.fma(power, rest, self.fsub(power, self.const(1)))  # exp(-2|x|) - 1
        size = self.size(self.fdiv(e, self.fadd(self.const(2), e)))
        return self.number(b.or_(self.bits(size), b.and_(self.bits(x), sign)))

    def relu(self, x):
        return self.where(x, "<", self.const(0), self.const(0), x)

    def relu6(self, x):
        return self.clip(x, 0, 6)

    def hard_silu(self, x):
        gate = self.clip(self.fma(x, self.const(1 / 6), self.const(0.5)), 0, 1)
        return self.fmul(x, gate)

    def silu(self, x):
        return self.fmul(x, self.sigmoid(x))

    def gelu(self, x):
        return self.fmul(x, self.normal_cdf(x))

    def bell(self, x):
        """exp(-x^2 / 2), 0 where that is no normal number.

        By powers of 2 all along: multiplications are what gelu waits for, and rounding x^2 costs
        digits only where the result is small.
        """
        least = self.const(1 - self.bias)
        z = self.fmul(self.fmul(x, x), self.const(-0.5 / math.log(2)))
        inside = self.where(z, "<", least, least, z)
        magic = self.const(1.5 * 2.0**self.mantissa + self.bias)
        shifted = self.fadd(inside, magic)
        f = self.fsub(inside, self.fsub(shifted, magic))
        power = self.number(self.b.shl(self.bits(shifted), self.whole(self.mantissa)))
        series = self.horner(f, POWER_SINGLE if self.single else POWER_DOUBLE)
        y = self.fmul(power, self.fma(f, series, self.const(1)))
        return self.where(z, "<", least, self.const(0), y)

    def normal_cdf(self, x):
        size = self.size(x)
        end = self.const(TAIL_END)
        tail = self.fmul(self.bell(x), self.horner(self.where(size, ">", end, end, size), TAIL))
        return self.where(x, "<", self.const(0), tail, self.fsub(self.const(1), tail))

    def erf(self, x):
        """x P(x^2) near zero, 1 - exp(-Q(|x|)) beyond 1, which is 1 beyond 4."""
        near = self.fmul(x, self.horner(self.fmul(x, x), ERF_NEAR))
        size, end = self.size(x), self.const(4)
        q = self.horner(self.where(size, ">", end, end, size), ERF_FAR)
        power, r = self.power_and_rest(self.fsub(self.const(0), q))
        far = self.fsub(self.const(1), self.fmul(power, self.exp_near(r)))
        sign = self.b.and_(self.bits(x), self.bits(self.const(-0.0)))
        far = self.number(self.b.or_(self.bits(far), sign))
        return self.where(size, ">", self.const(1), far, near)

    def sqrt(self, x):
        """An instruction: `math.sqrt` is a call of the C library."""
        name = f"llvm.sqrt.{simd.suffix(self.kind)}"
        return self.b.call(simd.declare(self.b, name, self.kind, [self.kind]), (x,))

    def _log_near(self, x, small=None):
        """log of a positive normal x = 2^e (1 + f); where e = 0, f is `small` if that is given."""
        b, half = self.b, int(np.float32(math.sqrt(0.5)).view(np.int32))
        e = b.ashr(b.sub(self.bits(x), self.whole(half)), self.whole(self.mantissa))
        m = self.number(b.sub(self.bits(x), b.shl(e, self.whole(self.mantissa))))
        f = self.fsub(m, self.const(1))
        if small is not None:
            f = b.select(b.icmp_signed("==", e, self.whole(0)), small, f)
        e, square = b.sitofp(e, self.kind), self.fmul(f, f)
        tail = self.fmul(self.fmul(square, f), self.horner(f, LOG))
        tail = self.fsub(tail, self.fmul(square, self.const(0.5)))
        low = self.fadd(f, self.fma(e, self.const(self.ln2[1]), tail))
        return self.fma(e, self.const(self.ln2[0]), low)

    def _log_edges(self, x, lowest, y):
        """y, but for x at or below the lowest argument, infinite or NaN."""
        lowest, infinity = self.const(lowest), self.const(math.inf)
        y = self.where(x, ">", lowest, y, self.const(-math.inf))
        y = self.where(x, "<", infinity, y, infinity)
        return self.where(x, ">=", lowest, y, self.const(math.nan))

    def log(self, x):
        tiny, scale = self.const(TINY), self.const(2.0**23)
        y = self._log_near(self.where(x, ">", tiny, x, tiny))
        positive = self.where(x, ">", self.const(0), x, self.const(1))
        small = self.fsub(self._log_near(self.fmul(positive, scale)), self.const(23 * math.log(2)))
        return self._log_edges(x, 0, self.where(x, "<", tiny, small, y))

    def log1p(self, x):
        whole, tiny = self.fadd(x, self.const(1)), self.const(TINY)
        return self._log_edges(x, -1, self._log_near(self.where(whole, ">", tiny, whole, tiny), x))


@jit.always_inline
def floor(x):
    """As a float, unlike `math.floor`."""
    return np.floor(x)


def _function(number, method: Callable) -> Callable:
    """A method of `Numbers` for single numbers, to be called in kernels."""
    return simd.emit(
        number, (number,), lambda builder, args: method(Numbers(builder, args[0].type), args[0])
    )


@cache
def square_root(dtype: str) -> Callable:
    """sqrt(x) for numbers of this type, to be called in kernels."""
    number = {"float32": types.float32, "float64": types.float64}[dtype]
    return _function(number, Numbers.sqrt)


_BOTH = ("bell", "exp", "expm1", "sigmoid", "tanh")
_SINGLE = ("erf", "log", "log1p", "normal_cdf")


@cache
def functions(dtype: str) -> dict[str, Callable]:
    """By the names of `kernels.scalar`, those that have a form of their own for this type."""
    number = {"float32": types.float32, "float64": types.float64}.get(dtype)
    names = () if number is None else (*_BOTH, *(_SINGLE if dtype == "float32" else ()))
    return {"floor": floor, **{name: _function(number, getattr(Numbers, name)) for name in names}}


@cache
def formula(function: Callable, dtype: str) -> Callable:
    """A formula of `kernels.scalar` for numbers of this type, to be called in kernels."""
    return scalar.compiled(function, dtype, functions(dtype), jit.always_inline)


def elementary(name: str, dtype: str) -> Callable:
    """A function of `math` for numbers of this type, to be called in kernels."""
    return functions(dtype).get(name) or scalar.ELEMENTARY[name]


FUNCTIONS = {
    RELU: Numbers.relu, SIGMOID: Numbers.sigmoid, TANH: Numbers.tanh, RELU6: Numbers.relu6,
    HARD_SILU: Numbers.hard_silu, SILU: Numbers.silu, GELU: Numbers.gelu,
}  # fmt: skip
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
