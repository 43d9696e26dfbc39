"""Functions of one number, in arithmetic that becomes vectors.

LLVM calls the C library for each element of ``exp`` and ``erf``. What stands here instead is
within a few units in the last place. ``exp`` reduces its argument by a multiple of ln 2, as Cephes
does (Moshier, 1989); ``tanh`` and ``erf`` are the rational functions that Eigen has for floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from bmopt.backends.tvm.lowering.stmts import Expr, Native, real, spread

_LOG2E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_LOWEST, _HIGHEST = -87.3365447, 88.3762626
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
_BIAS, _MANTISSA = 127, 23

_TANH_END = 7.90531110763549805
_TANH_ABOVE = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_BELOW = (
    1.19825839466702e-06,
    1.18534705686654e-04,
    2.26843463243900e-03,
    4.89352518554385e-03,
)

_ERF_END = 4.0
_ERF_ABOVE = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_BELOW = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def exp(x: Expr, lanes: int = 1) -> Expr:
    """Return ``e^x``; zero and infinity where it leaves the floats."""

    def number(value: float) -> Expr:
        return spread(real(value), lanes)

    kept = tirx.max(tirx.min(x, number(_HIGHEST)), number(_LOWEST))
    turns = tirx.floor(kept * number(_LOG2E) + number(0.5))
    rest = kept - turns * number(_LN2_HIGH) - turns * number(_LN2_LOW)
    power = _polynomial(rest, _EXP, number) * rest * rest + rest + number(1.0)
    kind = _typed("int32", lanes)
    whole = tirx.Cast(kind, turns) + spread(tirx.IntImm("int32", _BIAS), lanes)
    scale = tirx.reinterpret(
        _typed("float32", lanes), whole << spread(tirx.IntImm("int32", _MANTISSA), lanes)
    )
    result = tirx.Select(x < number(_LOWEST), number(0.0), power * scale)
    return tirx.Select(x > number(_HIGHEST), number(math.inf), result)


def sigmoid(x: Expr, lanes: int = 1) -> Expr:
    """Return ``1 / (1 + e^-x)``."""
    one = spread(real(1.0), lanes)
    return tirx.div(one, one + exp(spread(real(0.0), lanes) - x, lanes))


def tanh(x: Expr, lanes: int = 1) -> Expr:
    """Return the hyperbolic tangent."""
    return _odd(x, _TANH_END, _TANH_ABOVE, _TANH_BELOW, lanes)


def erf(x: Expr, lanes: int = 1) -> Expr:
    """Return the error function."""
    return _odd(x, _ERF_END, _ERF_ABOVE, _ERF_BELOW, lanes)


def _odd(x: Expr, end: float, above: Sequence[float], below: Sequence[float], lanes: int) -> Expr:
    """Return ``x`` times a quotient of polynomials of its square, constant beyond ``end``."""

    def number(value: float) -> Expr:
        return spread(real(value), lanes)

    kept = tirx.max(tirx.min(x, number(end)), number(-end))
    square = kept * kept
    top = kept * _polynomial(square, above, number)
    return tirx.div(top, _polynomial(square, below, number))


def _polynomial(x: Expr, factors: Sequence[float], number: Callable[[float], Expr]) -> Expr:
    """Return a polynomial, its factors given from the highest power down (Horner's rule)."""
    total: Native = number(factors[0])
    for factor in factors[1:]:
        total = total * x + number(factor)
    return total


def _typed(name: str, lanes: int) -> str:
    return name if lanes == 1 else f"{name}x{lanes}"
