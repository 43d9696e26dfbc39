"""Placements between the fastest and the most accurate that a latency table allows.

A placement costs time, and its groups in integers cost accuracy: their sensitivities add up.
For every price on sensitivity, a cut finds the least of time plus price; raising the price walks
along the lower hull of what is possible (Lagrangian relaxation; the search for the prices at which
the answer changes is that of M. J. Eisner and D. G. Severance, "Mathematical techniques for
efficient record segmentation in large shared databases", 1976). What lies behind the hull is found
by branch and bound.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Iterable, Mapping

from bmopt.calibration.placement_cut import cheapest
from bmopt.core.latency_table import LatencyTable

_MOST_PLACEMENTS = 64
_MOST_CUTS = 2000
_CLEAR = 1e-9
"""A gain below this share of the whole is rounding."""


@dataclasses.dataclass(frozen=True)
class PricedPlacement:
    """A placement and what it costs.

    Attributes:
        keep_float: The groups in float.
        latency_ns: What the table predicts for an inference.
        sensitivity: Sensitivities of the groups in integers together.
    """

    keep_float: frozenset[str]
    latency_ns: float
    sensitivity: float


def pareto(
    table: LatencyTable, sensitivity: Mapping[str, float], *, most: int = _MOST_PLACEMENTS
) -> list[PricedPlacement]:
    """Return the placements on the lower hull of latency and sensitivity, the fastest first.

    Every one is the least of latency + price * sensitivity for some price. They need not be
    nested.

    Args:
        table: Times of groups and borders.
        sensitivity: Group -> what its integers cost in accuracy, 0 or more; 0 where not named.
        most: How many placements at most.
    """
    weigh = _Weigh(table, sensitivity)
    fastest, safest = weigh.at(0.0), weigh.at(weigh.highest_price())
    found = {fastest.keep_float: fastest, safest.keep_float: safest}
    gaps = [(fastest, safest)]
    while gaps and len(found) < most:
        left, right = gaps.pop(0)
        between = weigh.between(left, right)
        if between is not None and between.keep_float not in found:
            found[between.keep_float] = between
            gaps += [(left, between), (between, right)]
    return _undominated(found.values())


def knapsack(
    table: LatencyTable,
    sensitivity: Mapping[str, float],
    budget: float,
    *,
    most_cuts: int = _MOST_CUTS,
) -> PricedPlacement | None:
    """Return the fastest placement whose sensitivity is at most ``budget``; None if there is none.

    The search starts from the best placement of ``pareto``'s and the price of sensitivity between
    it and its faster neighbour. Groups are then fixed one by one, those first in which the two
    differ; a branch ends where even its relaxation, the cut at that price, is no better than the
    best that was found. The answer is exact, within 1e-9 of the latency, where the branches ran
    out before ``most_cuts``; else it is slower than the best one by no more than it lies above
    the straight line between its two neighbours on the hull, at ``budget``.

    Args:
        table: Times of groups and borders.
        sensitivity: Group -> what its integers cost in accuracy, 0 or more; 0 where not named.
        budget: What the groups in integers may cost together.
        most_cuts: Cuts to compute at most.
    """
    front = pareto(table, sensitivity)
    within = [one for one in front if one.sensitivity <= budget]
    if not within:
        return None
    best = within[0]
    beyond = [one for one in front if one.sensitivity > budget]
    if not beyond:
        return best
    return _Search(table, sensitivity, budget, best, beyond[-1]).run(most_cuts)


class _Weigh:
    """Answers what is best at a price of sensitivity."""

    def __init__(self, table: LatencyTable, sensitivity: Mapping[str, float]) -> None:
        self._table = table
        self._sensitivity = sensitivity

    def at(self, price: float, fixed: Mapping[str, bool] | None = None) -> PricedPlacement:
        penalty = {n: price * self._sensitivity.get(n, 0.0) for n in self._table.groups}
        return self.of(cheapest(self._table.groups, self._table.borders, penalty, fixed=fixed))

    def of(self, kept: frozenset[str]) -> PricedPlacement:
        names = (name for name in self._table.groups if name not in kept)
        total = math.fsum(self._sensitivity.get(name, 0.0) for name in names)
        return PricedPlacement(kept, self._table.predicted_ns(kept), total)

    def highest_price(self) -> float:
        """Return a price at which no time is worth any sensitivity that can be avoided."""
        table = self._table
        times = [group.float_ns + group.int_ns for group in table.groups.values()]
        times += [b.quantize_ns + b.dequantize_ns for b in table.borders.values()]
        least = min((self._sensitivity.get(n, 0.0) or math.inf for n in table.groups), default=1.0)
        return 0.0 if math.isinf(least) else (sum(times) + 1.0) / least

    def between(self, left: PricedPlacement, right: PricedPlacement) -> PricedPlacement | None:
        """Return what is better than both at the price at which they are alike."""
        price = _price(left, right)
        if price is None:
            return None
        found = self.at(price)
        gain = _weighed(left, price) - _weighed(found, price)
        return found if gain > _CLEAR * (1.0 + abs(_weighed(left, price))) else None


class _Search:
    """Branch and bound; the bound is a cut at one price, so it is never above the truth."""

    def __init__(
        self,
        table: LatencyTable,
        sensitivity: Mapping[str, float],
        budget: float,
        within: PricedPlacement,
        beyond: PricedPlacement,
    ) -> None:
        self._weigh = _Weigh(table, sensitivity)
        self._sensitivity = sensitivity
        self._budget = budget
        self._best = within
        self._price = _price(beyond, within) or 0.0
        differ = within.keep_float ^ beyond.keep_float
        self._order = sorted(
            table.groups, key=lambda n: (n not in differ, -sensitivity.get(n, 0.0), n)
        )
        self._needs = {name: group.needs for name, group in table.groups.items()}

    def run(self, most_cuts: int) -> PricedPlacement:
        """Return the best placement within the budget, the most promising branch first."""
        start: dict[str, bool] = {}
        branches = [(self._bound(start), 0, start)]
        cuts = 1
        while branches and cuts < most_cuts:
            bound, _, fixed = heapq.heappop(branches)
            if not self._is_worthwhile(bound):
                break
            for more in self._branches(fixed):
                bound, cuts = self._bound(more), cuts + 1
                if self._is_worthwhile(bound):
                    heapq.heappush(branches, (bound, cuts, more))
        return self._best

    def _is_worthwhile(self, bound: float) -> bool:
        return bound < self._best.latency_ns * (1.0 - _CLEAR)

    def _branches(self, fixed: Mapping[str, bool]) -> list[dict[str, bool]]:
        name = next((name for name in self._order if name not in fixed), None)
        if name is None:
            return []
        return [{**fixed, name: True}, {**fixed, name: False}]

    def _bound(self, fixed: Mapping[str, bool]) -> float:
        """Return no more than the best completion of ``fixed`` takes; keep what it comes upon."""
        if not self._is_possible(fixed):
            return math.inf
        found = self._weigh.at(self._price, fixed)
        if found.sensitivity <= self._budget and found.latency_ns < self._best.latency_ns:
            self._best = found
        return _weighed(found, self._price) - self._price * self._budget

    def _is_possible(self, fixed: Mapping[str, bool]) -> bool:
        in_int = [name for name, integer in fixed.items() if integer]
        for name in in_int:
            # `in_int` grows: what is needed may need more.
            in_int += [other for other in self._needs.get(name, ()) if other not in in_int]
        if any(fixed.get(name) is False for name in in_int):
            return False
        return math.fsum(self._sensitivity.get(name, 0.0) for name in in_int) <= self._budget


def _weighed(placement: PricedPlacement, price: float) -> float:
    return placement.latency_ns + price * placement.sensitivity


def _price(fast: PricedPlacement, safe: PricedPlacement) -> float | None:
    """Return the price of sensitivity at which both cost the same; None where none is."""
    gain = fast.sensitivity - safe.sensitivity
    return (safe.latency_ns - fast.latency_ns) / gain if gain > 0.0 else None


def _undominated(found: Iterable[PricedPlacement]) -> list[PricedPlacement]:
    """Return those that no other one is at least as good as in both, the fastest first."""
    kept: list[PricedPlacement] = []
    for one in sorted(found, key=lambda p: (p.latency_ns, p.sensitivity, sorted(p.keep_float))):
        if not kept or one.sensitivity < kept[-1].sensitivity:
            kept.append(one)
    return kept
