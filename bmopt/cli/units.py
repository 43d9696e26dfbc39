"""Quantities as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def size_text(size: int) -> str:
    """Return bytes with a decimal unit, for example ``"1.25 MB"``."""
    digits, prefix = _scaled(size)
    return f"{digits} {prefix}B"


def count_text(count: int) -> str:
    """Return a count with at most three digits and a prefix, for example ``"12.5 M"``."""
    return " ".join(part for part in _scaled(count) if part)


def _scaled(count: float) -> tuple[str, str]:
    for prefix in ("", "k", "M", "G"):
        if count < 999.5:
            return f"{count:.3g}", prefix
        count /= 1000
    return f"{count:.0f}", "T"


def time_text(nanoseconds: float) -> str:
    """Return a time with three digits, for example ``"12.5 ms"``."""
    for limit, unit in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if nanoseconds < 0.9995 * limit:
            return f"{nanoseconds / (limit / 1e3):.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def percent_text(fraction: float | None) -> str:
    """Return a fraction as a percentage; ``"-"`` where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def shape_text(shape: Sequence[int | str | None] | None) -> str:
    """Return a shape as in ``--shapes``; ``?`` where an axis or the rank is not known."""
    if shape is None:
        return "?"
    return "x".join("?" if axis is None else str(axis) for axis in shape) or "scalar"
