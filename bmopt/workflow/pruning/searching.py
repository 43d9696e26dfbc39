"""Looking for the model that a budget or a drop allows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from bmopt.core.prune_plan import PrunePlan
from bmopt.core.prune_trials import Point
from bmopt.workflow.pruning.budget import PruneBudget
from bmopt.workflow.pruning.estimating import Proposal
from bmopt.workflow.pruning.workshop import Trial

_ROUNDS = 5
_AIM = 0.98
_WASTE = 0.95
_STEP = 0.35
"""Part of what is left to search that the next cut goes down: losses rise ever faster."""
_FINEST = 0.02
_MOST_TRIALS = 8
_MULTIPLES = (8, 16)
"""Of what widths are tried where a cut to other ones is slower than no cut."""

Tell = Callable[[Trial], None]


class Proposer(Protocol):
    """Proposes plans; see ``estimating.Estimator``."""

    def propose(self, ratio: float) -> Proposal | None:
        """Return the plan that loses least of those that leave ``ratio``; None if none does."""

    def least(self) -> Proposal:
        """Return the plan that leaves as little as can be."""

    def learn(self, proposal: Proposal, measured: float) -> None:
        """Remember what was measured of a proposal."""


class Shop(Protocol):
    """Where plans are tried; see ``workshop.Workshop``."""

    @property
    def can_time(self) -> bool:
        """Whether latencies can be measured here."""

    @property
    def multiple(self) -> int:
        """What widths are to be multiples of; 0 where it is left to the search."""

    def estimator(self, budget: PruneBudget, multiple: int = 0) -> Proposer:
        """Return what proposes plans for a kind of budget, of such widths alone if any."""

    def tried(self, name: str, budget: str, plan: PrunePlan | None) -> Trial:
        """Cut and measure; without a plan, the model as it is."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search ended with.

    Attributes:
        best: The model to ship.
        trials: Everything that was tried, in that order; the first is the model as it was given.
        missed: Why the budget is not met; empty where it is.
        sparsity: What was done to get the weights a pattern of zeros; None where nothing was.
    """

    best: Trial
    trials: tuple[Trial, ...]
    missed: str = ""
    sparsity: Mapping[str, Any] | None = None


def within_budget(shop: Shop, budget: PruneBudget, tell: Tell) -> Found:
    """Return the model that ``budget`` leaves; latency is measured, and the cut corrected by it.

    What profiles predict and what is measured differ: the estimates learn from every measurement,
    until the measured latency fits. It is a part of the uncut model's in the target's precision.

    MACs and parameters are counted, but kernels compute several channels at a time: where a cut
    turns out slower than no cut, widths that are multiples of 8 and of 16 are tried as well.
    """
    trials = [_told(shop.tried("source", "", None), tell)]
    source, estimator = trials[0].point, shop.estimator(budget)
    best, asked = None, budget.ratio
    for number in range(1, _ROUNDS + 1):
        proposal = estimator.propose(asked)
        is_least = proposal is None
        proposal = proposal or estimator.least()
        if any(trial.plan == proposal.plan for trial in trials):
            break
        trial = _told(shop.tried(f"cut {number}", str(budget), proposal.plan), tell)
        trials.append(trial)
        left = _left(trial, budget, source)
        if left <= budget.ratio:
            best = trial if best is None else _better(best, trial)
        fits = budget.kind != "latency" or _WASTE * budget.ratio <= left <= budget.ratio
        if fits or (is_least and left > budget.ratio):
            break
        estimator.learn(proposal, left)
        asked = _AIM * budget.ratio
    if best is not None:
        if budget.kind != "latency" and best.point.is_slower(source) and not shop.multiple:
            trials += _aligned(shop, budget, best.plan, tell)
            best = _of_quick_kind(trials[1:], source)
        return Found(best, tuple(trials))
    closest = min(trials, key=lambda trial: _left(trial, budget, source))
    left = _left(closest, budget, source)
    return Found(closest, tuple(trials), f"{budget} is not met: the closest leaves {left:.3f}")


def _aligned(
    shop: Shop, budget: PruneBudget, tried: PrunePlan | None, tell: Tell
) -> Iterator[Trial]:
    """Yield models within a budget whose widths kernels may like better, of other plans each."""
    plans = [tried]
    for multiple in _MULTIPLES:
        proposal = shop.estimator(budget, multiple).propose(budget.ratio)
        if proposal is not None and proposal.plan not in plans:
            plans.append(proposal.plan)
            yield _told(shop.tried(f"multiples of {multiple}", str(budget), proposal.plan), tell)


def _of_quick_kind(trials: Sequence[Trial], source: Point) -> Trial:
    """Return the trial that lost least, of those that are not slower than no cut if there are.

    Where losses are not known, it is the fastest: all leave about the same.
    """
    if any(trial.point.drop is None for trial in trials):
        return functools.reduce(_cheaper, trials)
    quick = [trial for trial in trials if not trial.point.is_slower(source)]
    return functools.reduce(_better, quick or trials)


def _better(one: Trial, other: Trial) -> Trial:
    """Return that of two trials that lost less, or where that is not known the one with more."""
    drops = one.point.drop, other.point.drop
    if drops[0] is not None and drops[1] is not None and drops[0] != drops[1]:
        return one if drops[0] < drops[1] else other
    return one if one.point.macs >= other.point.macs else other


def _left(trial: Trial, budget: PruneBudget, source: Point) -> float:
    """Return what a trial has of the uncut model's."""
    point = trial.point
    if budget.kind == "latency":
        assert point.latency is not None
        assert source.latency is not None
        return point.latency / source.latency
    return point.macs if budget.kind == "macs" else point.parameters


def within_drop(shop: Shop, max_drop: float, tell: Tell) -> Found:
    """Return the cheapest model that loses no more than ``max_drop``, by narrowing an interval.

    The search is over what is left of the latency, or of the MACs where none can be timed here.
    """
    budget = PruneBudget("latency" if shop.can_time else "macs", 0.5)
    trials = [_told(shop.tried("source", "", None), tell)]
    estimator, lowest, highest = shop.estimator(budget), 0.1, 1.0
    best = trials[0]
    while highest - lowest > _FINEST and len(trials) < _MOST_TRIALS:
        ratio = round(highest - _STEP * (highest - lowest), 3)
        proposal = estimator.propose(ratio)
        if proposal is None:
            lowest = ratio
            continue
        trial = next((one for one in trials if one.plan == proposal.plan), None)
        if trial is None:
            asked = str(dataclasses.replace(budget, ratio=ratio))
            trial = _told(shop.tried(f"cut {len(trials)}", asked, proposal.plan), tell)
            trials.append(trial)
        estimator.learn(proposal, _left(trial, budget, trials[0].point))
        if _loses_no_more(trial, max_drop):
            highest, best = ratio, _cheaper(best, trial)
        else:
            lowest = ratio
    missed = "" if _loses_no_more(best, max_drop) else _why(best, max_drop)
    return Found(best, tuple(trials), missed)


def _loses_no_more(trial: Trial, max_drop: float) -> bool:
    return trial.point.drop is not None and trial.point.drop <= max_drop


def _cheaper(one: Trial, other: Trial) -> Trial:
    def cost(trial: Trial) -> float:
        point = trial.point
        return point.macs if point.latency is None else point.latency

    return min(one, other, key=cost)


def _why(trial: Trial, max_drop: float) -> str:
    lost = trial.point.drop
    if lost is None:
        return "the drop is not known: there is no metric on these samples"
    return f"even the uncut model loses {lost:.2f} points in this precision, above {max_drop:g}"


def _told(trial: Trial, tell: Tell) -> Trial:
    tell(trial)
    return trial
