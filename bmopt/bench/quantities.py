"""Quantities as people read them: three digits and a unit."""

from __future__ import annotations

import math

NONE = "\N{EN DASH}"
"""Where there is no number."""

MINUS = "\N{MINUS SIGN}"

_TIMES = ((1e3, "ns"), (1e6, "µs"), (1e9, "ms"))
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def time_text(nanoseconds: float | None) -> str:
    """Return a time, for example ``"12.5 ms"``."""
    if nanoseconds is None:
        return NONE
    for limit, unit in _TIMES:
        if abs(nanoseconds) < 0.9995 * limit:
            return f"{digits(nanoseconds / (limit / 1e3))} {unit}"
    return f"{digits(nanoseconds / 1e9)} s"


def amount(value: float | None, unit: str = "") -> str:
    """Return a count with a decimal prefix, for example ``"1.25 MB"``."""
    if value is None:
        return NONE
    for size, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * size:
            return f"{digits(value / size)} {prefix}{unit}"
    return f"{digits(value)} {unit}".rstrip()


def digits(value: float) -> str:
    """Return three significant digits without an exponent, zeros kept: ``"70.0"``, ``"0.398"``."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "?" if math.isnan(value) else f"{MINUS}∞"
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(float(f"{value:.2e}")))))
    return f"{value:.{min(decimals, 9)}f}".replace("-", MINUS)


def ratio_text(value: float) -> str:
    """Return a ratio; near 1 its third decimal matters."""
    if not math.isfinite(value):
        return "∞"
    return f"{value:.3f}" if 0.1 <= value < 10.0 else digits(value)


def percent(fraction: float | None, decimals: int = 2) -> str:
    """Return a fraction in per cent."""
    return NONE if fraction is None else f"{100 * fraction:.{decimals}f} %"


def points(fraction: float) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def axis_label(value: float) -> str:
    """Return a tick's label: no needless zeros."""
    text = f"{value:.10g}"
    return text.replace("-", MINUS)
