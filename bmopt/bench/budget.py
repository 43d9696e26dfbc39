"""A budget of accuracy: how much of a metric a candidate may lose, and whether it has.

A budget is met or missed by the numbers that were measured, as every user reads them. Whether the
samples are enough to tell is said beside it, and does not change the verdict.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from bmopt.bench.drop import Estimate, drop_of, value_of
from bmopt.bench.limits import Limit, Scene
from bmopt.bench.metric import Metric, Rows
from bmopt.bench.metric_text import parse_metric
from bmopt.errors import UsageError

AUTO = "auto"
NO_METRIC = "none"
CONFIDENCE = 0.95
"""Coverage of the two-sided intervals that budgets are judged with."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a candidate may lose of a metric; of two limits both have to be kept.

    Attributes:
        metric: Its text; ``auto`` for what the samples allow, see
            ``bmopt.workflow.evaluating``.
        max_drop: The largest drop that is allowed: percentage points of a metric that is a
            fraction, else the metric's own unit. Of an error, a rise is a drop.
        min_value: The worst value that is allowed, in the metric's own unit, 0 to 1 of a fraction.

    Raises:
        UsageError: There is no limit, or one that makes no sense for the metric.
    """

    metric: str = AUTO
    max_drop: float | None = None
    min_value: float | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        if self.max_drop is None and self.min_value is None:
            raise UsageError("a budget needs a limit: give --max-drop or --min-metric")
        if self.max_drop is not None and not 0.0 <= self.max_drop < math.inf:
            raise UsageError(f"max-drop {self.max_drop:g}: give 0 or more, 0.3 for 0.3 points")
        if self.min_value is not None and not math.isfinite(self.min_value):
            raise UsageError(f"min-metric {self.min_value}: give a finite number")
        if self.metric == NO_METRIC:
            raise UsageError("a budget needs a metric; leave out --metric none")
        if self.metric != AUTO:
            self.require_fit(parse_metric(self.metric))

    def require_fit(self, metric: Metric) -> None:
        """Refuse limits that make no sense for the metric.

        Raises:
            UsageError: A drop of a metric that has none, or a fraction given in per cent.
        """
        if self.max_drop is not None and _has_no_drop(metric):
            raise UsageError(
                f"max-drop {self.max_drop:g}: {metric.name} is measured against the source model "
                "and has no drop of its own; use --min-metric with the least value"
            )
        if self.min_value is not None and metric.is_fraction and not 0 <= self.min_value <= 1:
            raise UsageError(
                f"min-metric {self.min_value:g}: {metric.name} lies between 0 and 1; write "
                "0.75 for 75 %"
            )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a budget.

    Attributes:
        metric: The metric's name.
        unit: Of the drop, its interval and what is resolvable: ``points`` (percentage points),
            ``dB``, or empty for the metric's own.
        reference: The reference's value, in the metric's own unit.
        candidate: The candidate's value, in the metric's own unit.
        drop: How much worse the candidate is; negative where it is better, None of a metric
            that has no drop.
        interval: Of the drop; infinite where there are too few samples, None without a drop.
        value_interval: Of the candidate's value, in its own unit; None where no least value
            was asked for.
        confidence: Coverage of both, two-sided.
        resolvable: The smallest drop that so many samples resolve, see ``bmopt.bench.drop``;
            of the value where there is no drop.
        met: Whether the measured numbers keep the budget.
        decided: Whether the intervals lie wholly on the same side of the limits.
        samples: How many samples both ran on.
        method: What the interval is.
        p: McNemar's exact p-value, where there is right and wrong of two models.
        text: All that in one line.
    """

    metric: str
    unit: str
    reference: float
    candidate: float
    drop: float | None
    interval: tuple[float, float] | None
    value_interval: tuple[float, float] | None
    confidence: float
    resolvable: float
    met: bool
    decided: bool
    samples: int
    method: str
    p: float | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; what is not finite is ``"inf"``, ``"-inf"`` or ``"nan"``."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}


def judge(
    budget: Budget,
    metric: Metric,
    reference: Rows,
    candidate: Rows,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Verdict:
    """Return whether a candidate keeps the budget on the samples that both ran on.

    It is met where the measured drop is not above ``max_drop`` and the measured value not worse
    than ``min_value``, but for rounding: 6 lost of 2000 samples are 0.3 points. It is decided
    where the two-sided interval of each limit that matters lies wholly on that side too; of a
    budget that is missed, one limit is enough. A value that is not a number misses it for sure.

    Args:
        budget: The limits.
        metric: The metric that made the rows, its output chosen.
        reference: The reference's rows.
        candidate: The candidate's rows, of the same samples in the same order.
        confidence: Coverage of the intervals.
        seed: Of the bootstraps.

    Raises:
        UsageError: The limits make no sense for the metric.
    """
    budget.require_fit(metric)
    before, after = metric.estimator(reference), metric.estimator(candidate)
    scene = Scene(metric, after.samples, before.value(), after.value(), budget.max_drop)
    limits, drop, value = [], None, None
    if not _has_no_drop(metric):
        drop = drop_of(metric, reference, candidate, confidence=confidence, seed=seed)
    if budget.min_value is not None:
        value = value_of(metric, candidate, confidence=confidence, seed=seed)
    if budget.max_drop is not None and drop is not None:
        limits.append(scene.drop_limit(drop, budget.max_drop))
    if budget.min_value is not None and value is not None:
        limits.append(scene.value_limit(value, budget.min_value))
    return _verdict(scene, limits, drop, value, confidence)


def _verdict(
    scene: Scene,
    limits: list[Limit],
    drop: Estimate | None,
    value: Estimate | None,
    confidence: float,
) -> Verdict:
    met = all(limit.met for limit in limits)
    decided = (
        all(e.decided for e in limits) if met else any(not e.met and e.decided for e in limits)
    )
    factor, first = scene.factor, drop or value
    assert first is not None
    return Verdict(
        metric=scene.metric.name,
        unit=scene.unit,
        reference=scene.reference,
        candidate=scene.candidate,
        drop=None if drop is None else factor * drop.value,
        interval=None if drop is None else _ends(drop, factor),
        value_interval=None if value is None else _ends(value, 1.0),
        confidence=confidence,
        resolvable=factor * first.resolvable,
        met=met,
        decided=decided,
        samples=scene.samples,
        method=first.method,
        p=first.p,
        text=_text(scene, limits, drop, value),
    )


def _text(scene: Scene, limits: list[Limit], drop: Estimate | None, value: Estimate | None) -> str:
    head = f"{scene.metric.name} {scene.shown(scene.candidate)}"
    if math.isnan(scene.candidate):
        head = f"{scene.metric.name} is not a number"
    elif drop is not None:
        head += f" against {scene.shown(scene.reference)}: {scene.drop_text(drop)}"
    elif value is not None:
        low, high = value.interval.low, value.interval.high
        head += f" [{low:.4g}, {high:.4g}] on {scene.samples} samples"
    return "; ".join([head, *(limit.line for limit in limits)])


def _has_no_drop(metric: Metric) -> bool:
    return metric.is_relative and not metric.is_fraction


def _ends(found: Estimate, factor: float) -> tuple[float, float]:
    return factor * found.interval.low, factor * found.interval.high


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, tuple):
        return [_plain(end) for end in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
