"""What a gate asks for: ``top1 -0.5pp``, ``p50 +3%``, ``p99 +5ms``, ``size +10%``.

A condition is a name and the worst change that is accepted, candidate against reference. Of what
is better high, accuracy say, a change below it fails: ``top1 -0.5pp`` accepts a loss of half a
percentage point. Of what is better low, such as a latency, a change above it fails. So
``p50 -10%`` asks for a gain: at least a tenth of the time less.
"""

from __future__ import annotations

import dataclasses
import math
import re

from bmopt.errors import UsageError

_CONDITION = re.compile(
    r"(?P<name>\S+)\s+(?P<number>[+-]?\s*(?:\d+\.?\d*|\.\d+))\s*(?P<unit>[A-Za-z%]*)"
)
_FORM = "write NAME CHANGE, for example 'top1 -0.5pp', 'p50 +3%', 'p99 +5ms' or 'size +10%'"

TIMES_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
SIZES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_UNITS = ("pp", "%", "", *TIMES_NS, *SIZES)


@dataclasses.dataclass(frozen=True)
class Condition:
    """The worst accepted change of one quantity.

    Attributes:
        name: The quantity.
        number: The change, in the unit.
        unit: ``%`` of the reference; ``pp``, percentage points; a unit of time or size; empty
            for the quantity's own.
    """

    name: str
    number: float
    unit: str

    def __str__(self) -> str:
        """Return the text that is parsed."""
        return f"{self.name} {self.number:+g}{self.unit}"

    @property
    def is_relative(self) -> bool:
        """Whether the change is a share of the reference's value."""
        return self.unit == "%"


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Return the conditions, which commas divide.

    Raises:
        UsageError: One is of another form, or given twice.
    """
    found = tuple(_condition(part.strip()) for part in text.split(",") if part.strip())
    if not found:
        raise UsageError(f"gate {text!r}: holds no condition; {_FORM}")
    names = [condition.name for condition in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"gate {text!r}: {twice[0]!r} is given twice; keep the stricter one")
    return found


def _condition(part: str) -> Condition:
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise UsageError(f"gate condition {part!r}: {_FORM}")
    if match["unit"] not in _UNITS:
        units = ", ".join(unit for unit in _UNITS if unit)
        raise UsageError(f"gate condition {part!r}: no unit {match['unit']!r}; use {units}")
    number = float(match["number"].replace(" ", ""))
    if match["number"][0] not in "+-" and not math.isclose(number, 0.0):
        raise UsageError(f"gate condition {part!r}: say + or - before {match['number']}")
    return Condition(match["name"], number, match["unit"])
