"""The limits of a budget: what becomes of each, and how that is written."""

from __future__ import annotations

import dataclasses
import math

from bmopt.bench.drop import Estimate
from bmopt.bench.metric import Metric

_SLACK = 1e-9
"""Differences of doubles, relative to the values, that are none."""

_MOST_DIGITS = 9


@dataclasses.dataclass(frozen=True)
class Limit:
    """One limit: what it says, and what became of it."""

    text: str
    met: bool
    decided: bool

    @property
    def line(self) -> str:
        """The limit, whether it is kept, and whether that is sure."""
        doubt = "" if self.decided else ", but the samples cannot tell"
        return f"{self.text}: {'met' if self.met else 'missed'}{doubt}"


@dataclasses.dataclass(frozen=True)
class Scene:
    """What is judged, and how its numbers are written.

    Attributes:
        metric: The metric.
        samples: How many samples both ran on.
        reference: The reference's value.
        candidate: The candidate's value.
        most: The largest drop that is allowed, None without such a limit.
    """

    metric: Metric
    samples: int
    reference: float
    candidate: float
    most: float | None

    @property
    def factor(self) -> float:
        """How many of the unit make one of the metric's own."""
        return 100.0 if self.metric.is_fraction else 1.0

    @property
    def unit(self) -> str:
        """The unit of a drop."""
        return "points" if self.metric.is_fraction else self.metric.unit

    def drop_limit(self, drop: Estimate, most: float) -> Limit:
        """Return what becomes of a limit to the drop."""
        met = self._keeps(drop.value, most)
        sure = self._keeps(drop.interval.high if met else drop.interval.low, most) == met
        return Limit(f"the budget is {most:.4g}{_spaced(self.unit)}", met, sure or self._lost)

    def value_limit(self, value: Estimate, worst: float) -> Limit:
        """Return what becomes of a limit to the value."""
        sign = 1.0 if self.metric.higher_is_better else -1.0
        ends = sorted((sign * value.interval.low, sign * value.interval.high))
        slack = _SLACK * abs(worst)
        met = sign * value.value >= sign * worst - slack
        sure = ((ends[0] if met else ends[1]) >= sign * worst - slack) == met
        side = "least" if self.metric.higher_is_better else "most"
        asked = f"{worst:.4g}{_spaced(self.metric.unit)}"
        if self.metric.is_fraction:
            asked = f"{100.0 * worst:.4g} %"
        return Limit(f"at {side} {asked} is asked for", met, sure or self._lost)

    def shown(self, value: float) -> str:
        """Return a value of the metric with its unit."""
        if not math.isfinite(value) or not self.metric.is_fraction:
            return f"{value:.4g}{_spaced(self.metric.unit)}"
        return f"{_number(100.0 * value, self._digits)} %"

    def drop_text(self, drop: Estimate) -> str:
        """Return the drop with its interval and what can be resolved."""
        moved = self._moved(drop.value)
        word = "gain" if drop.value < 0.0 else "drop"
        size = f"a {word} of {moved}{_spaced(self.unit)}" if float(moved) else "no drop"
        low, high = drop.interval.low * self.factor, drop.interval.high * self.factor
        ends = f"[{self._amount(low)}, {self._amount(high)}]"
        ends = f"(a drop in {ends})" if drop.value < 0.0 else ends
        return f"{size} {ends}, {self.samples} samples resolve {self.resolved(drop)}"

    def resolved(self, found: Estimate) -> str:
        """Return what can be resolved."""
        half = found.resolvable * self.factor
        return self._amount(half) if math.isfinite(half) else "nothing"

    def _keeps(self, drop: float, most: float) -> bool:
        slack = _SLACK * max(most, self.factor * abs(self.reference))
        return self.factor * drop <= most + slack

    def _moved(self, drop: float) -> str:
        """Return the size of a drop, with so many digits that it reads as it was judged."""
        size = self.factor * abs(drop)
        text = self._amount(size)
        if self.most is None or drop < 0.0 or not math.isfinite(size):
            return text
        for digits in range(self._digits, _MOST_DIGITS):
            if (float(text) <= self.most) == self._keeps(drop, self.most):
                break
            text = f"{size:.{digits + 1}f}"
        return text

    @property
    def _lost(self) -> bool:
        """Whether the value is so bad that no more samples would help."""
        worst = -math.inf if self.metric.higher_is_better else math.inf
        return math.isnan(self.candidate) or self.candidate == worst

    @property
    def _digits(self) -> int:
        """Decimals of per cent that show a single sample."""
        return max(1, math.ceil(math.log10(max(self.samples, 1))) - 2)

    def _amount(self, value: float) -> str:
        if not math.isfinite(value) or not self.metric.is_fraction:
            return f"{value:.3g}"
        return _number(value, self._digits)


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("-", "") if float(text) == 0.0 else text


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""
