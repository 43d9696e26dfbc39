"""Scales of charts: values to places, and where ticks stand."""

from __future__ import annotations

import dataclasses
import math

_STEPS = (1.0, 2.0, 5.0, 10.0)
_NARROW = 8.0


@dataclasses.dataclass(frozen=True)
class Scale:
    """Maps ``low``..``high`` to ``start``..``end``, linearly or by logarithm.

    Attributes:
        low: The value that lies at ``start``.
        high: The value that lies at ``end``.
        start: A place in pixels.
        end: Another.
        log: Whether equal ratios are equally far apart; ``low`` is above 0 then.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of ``value``; beyond the ends it is that of the end."""
        kept = min(max(value, self.low), self.high)
        low, high = self._place(self.low), self._place(self.high)
        share = (self._place(kept) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """Return about ``wanted`` round values between the ends.

        A logarithm over less than a decade has the ticks of a linear scale.
        """
        if self.log and self.high / self.low > _NARROW:
            return self._log_ticks(wanted)
        step = _round_step((self.high - self.low) / max(wanted, 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _log_ticks(self, wanted: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = [
                float(f"{factor}e{power}")
                for power in decades
                for factor in factors
                if self.low <= float(f"{factor}e{power}") <= self.high
            ]
            if len(found) <= wanted + 1:
                return found
        stride = math.ceil(len(found) / max(wanted, 1))
        return found[::stride]

    def _place(self, value: float) -> float:
        return math.log(value) if self.log else value


def padded(low: float, high: float, *, share: float = 0.08) -> tuple[float, float]:
    """Return the ends moved apart by a share of the span; never equal."""
    span = (high - low) or abs(high) * 0.1 or 1.0
    return low - share * span, high + share * span


def log_padded(low: float, high: float, *, share: float = 0.08) -> tuple[float, float]:
    """Return ends above 0 moved apart by a share of their ratio; never equal."""
    below, above = padded(math.log(low), math.log(high), share=share)
    if high == low:
        below, above = math.log(low) - 0.02, math.log(low) + 0.02
    return math.exp(below), math.exp(above)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * 0.999)
