"""The inverse of the error function, as a formula that every device compiles; see `scalar`."""

from math import copysign, erfc, exp, log, sqrt

INFINITY, NAN = float("inf"), float("nan")
ONLY_DOUBLE = 1e-300  # 0 in float32


def _erfinv_start(x):
    """Within about 4e-7 relative (Giles 2010, "Approximating the erfinv function")."""
    w = -log((1.0 - x) * (1.0 + x))
    if w < 5.0:
        w = w - 2.5
        p = 2.81022636e-08
        p = 3.43273939e-07 + p * w
        p = -3.5233877e-06 + p * w
        p = -4.39150654e-06 + p * w
        p = 0.00021858087 + p * w
        p = -0.00125372503 + p * w
        p = -0.00417768164 + p * w
        p = 0.246640727 + p * w
        return (1.50140941 + p * w) * x
    w = sqrt(w) - 3.0
    p = -0.000200214257
    p = 0.000100950558 + p * w
    p = 0.00134934322 + p * w
    p = -0.00367342844 + p * w
    p = 0.00573950773 + p * w
    p = -0.0076224613 + p * w
    p = 0.00943887047 + p * w
    p = 1.00167406 + p * w
    return (2.83297682 + p * w) * x


def erfinv(x):
    """float64 takes two of Newton's steps more; in float32, where `ONLY_DOUBLE` is 0, they would
    lose digits near 1.
    """
    if x <= -1.0 or x >= 1.0:
        return copysign(INFINITY, x) if abs(x) == 1.0 else NAN
    y = abs(_erfinv_start(x))
    if ONLY_DOUBLE > 0.0:
        for _ in range(2):
            apart = (1.0 - abs(x)) - erfc(y)
            y = y - 0.8862269254527580 * exp(y * y) * apart
    return copysign(y, x)
