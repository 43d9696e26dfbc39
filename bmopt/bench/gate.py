"""A gate: non-inferiority tests of a candidate against a reference.

A condition has failed only if the whole interval of the change lies beyond its margin, and passed
only if the whole interval lies within; else it is undecided. Whoever merges on green does not
want luck to decide, in either direction.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bmopt.bench.change import Change
from bmopt.bench.conditions import SIZES, TIMES_NS, Condition
from bmopt.core.ranges import Interval
from bmopt.errors import UsageError

Outcome = Literal["passed", "failed", "undecided"]

EXIT_CODES: Mapping[Outcome, int] = {"passed": 0, "failed": 1, "undecided": 4}

_HOPELESS = 1000.0


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What became of one condition.

    Attributes:
        condition: What was asked.
        outcome: What the interval says.
        estimate: The change; None where it is unknown.
        interval: Of the change.
        confidence: Coverage of the interval; None of a quantity that is known exactly.
        more: How many more of ``more_of`` would decide; None where that is not the way.
        more_of: What was counted.
        note: Why there is no interval.

    The change and its interval are in the condition's unit: per cent, percentage points, ...
    """

    condition: Condition
    outcome: Outcome
    estimate: float | None
    interval: Interval | None
    confidence: float | None
    more: int | None
    more_of: str
    note: str = ""

    def line(self) -> str:
        """Return the judgement in a line."""
        head = f"{self.condition.name}: "
        unit = _spaced(self.condition.unit)
        if self.estimate is not None:
            head += f"{self.estimate:+.3g}{unit}, "
        if self.interval is not None and self.confidence is not None:
            ends = f"[{self.interval.low:+.3g}, {self.interval.high:+.3g}]"
            head += f"{100 * self.confidence:g} % interval {ends}, "
        return f"{head}margin {self.condition.number:+g}{unit}: {self.outcome}{self._advice()}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; what is not finite is null."""
        ends = None if self.interval is None else [self.interval.low, self.interval.high]
        return {
            "condition": str(self.condition),
            "outcome": self.outcome,
            "estimate": _finite(self.estimate),
            "interval": None if ends is None else [_finite(end) for end in ends],
            "confidence": self.confidence,
            "unit": self.condition.unit,
            "more": self.more,
            "more_of": self.more_of,
            "line": self.line(),
        }

    def _advice(self) -> str:
        if self.note:
            return f"; {self.note}"
        if self.outcome != "undecided":
            return ""
        if self.more is None:
            return "; the change lies so near the margin that more samples will hardly decide"
        return f"; about {self.more:,} more {self.more_of} would decide"


def judge(condition: Condition, change: Change) -> Judgement:
    """Return what the interval of the change says about the condition.

    A candidate whose value is not a number has failed.

    Raises:
        UsageError: The condition's unit is not one of the quantity's.
    """
    factor = _factor(condition, change)
    interval, estimate = _in_unit(condition, change, factor)
    outcome = _outcome(condition.number, interval, higher_is_better=change.higher_is_better)
    note = "" if interval is not None else change.note or "there is no interval"
    if change.candidate is not None and not math.isfinite(change.candidate):
        outcome, note, estimate = "failed", "the candidate's value is not a number", None
    more = None
    if outcome == "undecided" and interval is not None and estimate is not None:
        more = samples_missing(interval, estimate, condition.number, change.counted)
    return Judgement(
        condition=condition,
        outcome=outcome,
        estimate=estimate,
        interval=interval,
        confidence=change.confidence,
        more=more,
        more_of=change.counted_as,
        note=note,
    )


def judge_all(conditions: Sequence[Condition], changes: Sequence[Change]) -> tuple[Judgement, ...]:
    """Return a judgement per condition.

    A condition names a change in full, or by what stands before a colon where that is clear.

    Raises:
        UsageError: A condition names nothing that was measured.
    """
    return tuple(judge(condition, _named(condition, changes)) for condition in conditions)


def exit_code(judgements: Sequence[Judgement]) -> int:
    """Return 1 where a condition failed, else 4 where one is undecided, else 0."""
    outcomes = {judgement.outcome for judgement in judgements}
    worst: tuple[Outcome, ...] = ("failed", "undecided")
    return next((EXIT_CODES[outcome] for outcome in worst if outcome in outcomes), 0)


def samples_missing(
    interval: Interval, estimate: float, margin: float, counted: int
) -> int | None:
    """Return how many more samples would bring the interval to one side of the margin.

    The estimate is taken for the truth, and the interval to shrink with the root of the number
    of samples. None where that is over a thousand times as many, or samples were not counted.
    """
    distance = abs(estimate - margin)
    half = interval.high - estimate if estimate < margin else estimate - interval.low
    if counted <= 0 or not math.isfinite(half) or half <= 0.0 or half > distance * _HOPELESS**0.5:
        return None
    return _rounded(counted * max((half / distance) ** 2 - 1.0, 1.0 / counted))


def _named(condition: Condition, changes: Sequence[Change]) -> Change:
    exact = [change for change in changes if change.name == condition.name]
    loose = [change for change in changes if change.name.partition(":")[0] == condition.name]
    found = exact or loose
    if len(found) != 1:
        known = ", ".join(change.name for change in changes) or "nothing"
        raise UsageError(f"gate condition '{condition}': measured were {known}; name one of them")
    return found[0]


def _factor(condition: Condition, change: Change) -> float:
    """Return how many of the condition's unit make one of the change's."""
    unit = condition.unit
    if unit == "%":
        return 100.0
    if unit == "pp" and change.unit == "fraction":
        return 100.0
    if unit in TIMES_NS and change.unit == "ns":
        return 1.0 / TIMES_NS[unit]
    if unit in SIZES and change.unit == "bytes":
        return 1.0 / SIZES[unit]
    if unit == "" and change.unit in ("value", "fraction"):
        return 1.0
    fitting = {
        "fraction": "pp or %",
        "ns": f"% or {', '.join(TIMES_NS)}",
        "bytes": f"% or {', '.join(SIZES)}",
        "value": "% or no unit",
    }
    raise UsageError(
        f"gate condition '{condition}': {change.name} changes by {fitting[change.unit]}"
    )


def _in_unit(
    condition: Condition, change: Change, factor: float
) -> tuple[Interval | None, float | None]:
    """Return the interval and the estimate in the condition's unit."""
    found = change.relative if condition.is_relative else change.absolute
    before, after = change.reference, change.candidate
    estimate = None
    if before is not None and after is not None:
        step = after - before
        if not condition.is_relative:
            estimate = factor * step
        elif before != 0.0:
            estimate = factor * step / before
    if found is None:
        return None, estimate
    low, high = factor * found.low, factor * found.high
    # A ratio's estimate comes from pairs and may lie outside of what the two values say.
    if estimate is not None and not low <= estimate <= high:
        estimate = (low + high) / 2.0
    return Interval(low, high), estimate


def _outcome(margin: float, interval: Interval | None, *, higher_is_better: bool) -> Outcome:
    if interval is None or math.isnan(interval.low) or math.isnan(interval.high):
        return "undecided"
    if higher_is_better:
        passed, failed = interval.low >= margin, interval.high < margin
    else:
        passed, failed = interval.high <= margin, interval.low > margin
    return "passed" if passed else "failed" if failed else "undecided"


def _rounded(count: float) -> int:
    """Return a count rounded up to two digits."""
    step = int(10.0 ** max(0, math.floor(math.log10(max(count, 1.0))) - 1))
    return math.ceil(count / step) * step


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
