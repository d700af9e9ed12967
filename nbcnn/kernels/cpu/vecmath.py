"""Elementary functions that LLVM can vectorize, in float32.

Numba's `math.exp` in a loop is a call per element (pip's numba has no vector maths library). These
are straight arithmetic: reduce the argument to a small interval by exact bit operations, evaluate a
polynomial there (minimax fits, error below half a unit in the last place of float32), put the
exponent back. All stay within about 2e-7 relative of the true value. NaN and infinities behave as
in IEEE arithmetic: nothing raises. In float64, and for functions without a vector form, the names
are those of `math`.

Each runs with its operations in the order written (`jit.exact`): the reductions cancel on purpose.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from nbcnn.kernels import scalar
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.simd_streams import float_bits, float_of_bits

F = np.float32
ONE, TWO, HALF, ZERO = F(1), F(2), F(0.5), F(0)
NAN, INF = F(np.nan), F(np.inf)

LOG2_E = F(1 / math.log(2))
LN2_HIGH = F(0.693359375)  # few bits: multiples up to 2^8 are exact
LN2_LOW = F(math.log(2) - 0.693359375)
ROUND = F(3 << 22)  # adding it leaves the nearest integer in the low bits
ROUND_BITS = np.int32(ROUND.view(np.int32))
EXP_MOST, EXP_LEAST = F(89), F(-104)
# (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
E0, E1, E2, E3, E4 = map(
    F,
    (
        0.5000000065712615,
        0.16666538015258303,
        0.04166626653980472,
        0.008367246786852375,
        0.001394759807623686,
    ),
)
# (log(1 + f) - f + f^2 / 2) / f^3 for sqrt(1/2) <= 1 + f <= sqrt(2)
L0, L1, L2, L3, L4, L5, L6, L7 = map(
    F,
    (
        0.33333316725816947, -0.2500081040514598, 0.20002286274954773, -0.1662455404365753,
        0.14181191937809656, -0.13128754800464615, 0.1288164749503939, -0.07859611511544169,
    ),
)  # fmt: skip
ROOT_HALF_BITS = np.int32(F(math.sqrt(0.5)).view(np.int32))
TINY = F(1.1754944e-38)  # smallest normal number
# erf(x) / x in x^2 for |x| <= 1, and -log(erfc(x)) for 1 <= x <= 4
S0, S1, S2, S3, S4, S5, S6 = map(
    F,
    (
        1.1283791659137676, -0.3761262713607933, 0.11283600177592669, -0.026854444649186873,
        0.005189535450255598, -0.0008020842268895368, 7.889122837869268e-05,
    ),
)  # fmt: skip
B0, B1, B2, B3, B4, B5, B6, B7 = map(
    F,
    (
        -0.00018846659939697474, 1.1295803061822518, 0.6332164064312553,
        0.10842209019324275, -0.025210334382915055, 0.004205282955701315,
        -0.00044147232496449454, 2.1697589269481378e-05,
    ),
)  # fmt: skip


@jit.exact
def _power_of_two(k):
    """2^k for -127 < k < 128 (0 for -127)."""
    return float_of_bits((k + np.int32(127)) << np.int32(23))


@jit.exact
def exp(x):
    """x = k log(2) + r; exp(x) = 2^k exp(r)."""
    z = x if x < EXP_MOST else EXP_MOST
    z = z if z > EXP_LEAST else EXP_LEAST
    shifted = z * LOG2_E + ROUND
    k = np.int32(float_bits(shifted) - ROUND_BITS)
    whole = shifted - ROUND
    r = (z - whole * LN2_HIGH) - whole * LN2_LOW
    small = r + r * r * (E0 + r * (E1 + r * (E2 + r * (E3 + r * E4))))
    half = k >> np.int32(1)  # in two steps: neither 2^128 nor 2^-150 is a normal number
    y = ((ONE + small) * _power_of_two(half)) * _power_of_two(k - half)
    return y if x == x else x


@jit.exact
def expm1(x):
    z = x if x < EXP_MOST else EXP_MOST
    z = z if z > F(-20) else F(-20)
    shifted = z * LOG2_E + ROUND
    k = np.int32(float_bits(shifted) - ROUND_BITS)
    whole = shifted - ROUND
    r = (z - whole * LN2_HIGH) - whole * LN2_LOW
    small = r + r * r * (E0 + r * (E1 + r * (E2 + r * (E3 + r * E4))))
    half = _power_of_two(k - np.int32(1))
    y = ((half - HALF) + half * small) * TWO
    return y if x == x else x


@jit.exact
def tanh(x):
    """m / (m + 2) with m = exp(2|x|) - 1, which is exact near zero."""
    size = abs(x)
    m = expm1(TWO * (F(10) if size > F(10) else size))
    y = m / (m + TWO)
    return -y if x < ZERO else y


@jit.exact
def _log_core(x, f0, use_f0):
    """log of a positive normal x = 2^e (1 + f); where `use_f0` and e = 0, f is `f0`."""
    bits = float_bits(x)
    e = (bits - ROOT_HALF_BITS) >> np.int32(23)
    m = float_of_bits(bits - (np.int32(e) << np.int32(23)))
    f = m - ONE
    if use_f0:
        f = f0 if e == 0 else f
    whole = F(np.int32(e))
    tail = L0 + f * (L1 + f * (L2 + f * (L3 + f * (L4 + f * (L5 + f * (L6 + f * L7))))))
    f2 = f * f
    return whole * LN2_HIGH + (f + (whole * LN2_LOW + (f2 * f * tail - HALF * f2)))


@jit.exact
def log(x):
    y = _log_core(x if x > TINY else TINY, ZERO, False)
    subnormal = _log_core((x if x > ZERO else ONE) * F(1 << 23), ZERO, False) - F(23 * math.log(2))
    y = subnormal if x < TINY else y
    y = y if x > ZERO else -INF
    y = y if x < INF else INF
    return y if x >= ZERO else NAN


@jit.exact
def log1p(x):
    whole = ONE + x
    y = _log_core(whole if whole > TINY else TINY, x, True)
    y = y if x > -ONE else -INF
    y = y if x < INF else INF
    return y if x >= -ONE else NAN


@jit.exact
def erf(x):
    """x P(x^2) near zero, 1 - exp(-Q(|x|)) beyond 1, which is 1 beyond 4."""
    size = abs(x)
    s = x * x
    near = x * (S0 + s * (S1 + s * (S2 + s * (S3 + s * (S4 + s * (S5 + s * S6))))))
    a = F(4) if size > F(4) else size
    q = B0 + a * (B1 + a * (B2 + a * (B3 + a * (B4 + a * (B5 + a * (B6 + a * B7))))))
    far = ONE - exp(-q)
    far = -far if x < ZERO else far
    y = far if size > ONE else near
    return y if x == x else x


@jit.exact
def floor(x):
    """As a float, unlike `math.floor`."""
    return np.floor(x)


FLOAT32: dict[str, Callable] = {
    "erf": erf,
    "exp": exp,
    "expm1": expm1,
    "floor": floor,
    "log": log,
    "log1p": log1p,
    "tanh": tanh,
}
OTHERS: dict[str, Callable] = {"floor": floor}


@cache
def formula(function: Callable, dtype: str) -> Callable:
    """A formula of `kernels.scalar` for numbers of this type, to be called in kernels."""
    return scalar.compiled(
        function, dtype, FLOAT32 if dtype == "float32" else OTHERS, jit.always_inline
    )


def elementary(name: str, dtype: str) -> Callable:
    """A function of `math` for numbers of this type, to be called in kernels."""
    return (FLOAT32 if dtype == "float32" else OTHERS).get(name) or scalar.ELEMENTARY[name]
