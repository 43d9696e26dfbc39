"""What to cut for a budget, by estimates that learn from what is measured."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from bmopt.calibration.pruning.allocation import allocate, expected_loss, smallest
from bmopt.calibration.pruning.ranking import Ranking
from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PruningError
from bmopt.graph.channels.counting import Kept

Cost = Callable[[Kept], float]

_LEAST = 0.05
"""An estimate keeps at least that much of its promise, and at most the inverse."""


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A plan, and what it is thought to leave.

    Attributes:
        plan: What goes.
        multiple: What widths are multiples of.
        left: Part of the whole model's cost that stays, as estimated.
    """

    plan: PrunePlan
    multiple: int
    left: float


class Estimator:
    """Proposes plans for one kind of cost.

    There may be an estimate for each thing that widths may be multiples of. What each saves of
    what it promises is learned from what was measured of its proposals.

    Args:
        ranking: The channels of every group in order, and losses.
        costs: What widths are multiples of, and what such a model costs.
    """

    def __init__(self, ranking: Ranking, costs: Sequence[tuple[int, Cost]]) -> None:
        self._ranking = ranking
        self._costs = tuple(costs)
        self._kept = {multiple: 1.0 for multiple, _ in costs}

    def propose(self, ratio: float) -> Proposal | None:
        """Return the plan that loses least of those that leave ``ratio``; None if none does."""
        found = [one for each in self._costs if (one := self._allocated(ratio, *each))]
        if not found:
            return None
        return min(found, key=lambda one: expected_loss(self._ranking, one.plan))

    def least(self) -> Proposal:
        """Return the plan that leaves as little as can be."""
        every = [
            self._proposal(smallest(self._ranking, multiple=multiple), multiple, cost)
            for multiple, cost in self._costs
        ]
        return min(every, key=lambda one: one.left)

    def learn(self, proposal: Proposal, measured: float) -> None:
        """Remember what was measured of a proposal: the part of the cost that it leaves."""
        kept = self._kept[proposal.multiple] * (1.0 - measured) / max(1.0 - proposal.left, _LEAST)
        self._kept[proposal.multiple] = min(max(kept, _LEAST), 1.0 / _LEAST)

    def _allocated(self, ratio: float, multiple: int, cost: Cost) -> Proposal | None:
        limit = 1.0 - (1.0 - ratio) / self._kept[multiple]
        if limit <= 0.0:
            return None
        with contextlib.suppress(PruningError):
            plan = allocate(self._ranking, cost, limit * cost({}), multiple=multiple)
            return self._proposal(plan, multiple, cost)
        return None

    def _proposal(self, plan: PrunePlan, multiple: int, cost: Cost) -> Proposal:
        sizes = {group.name: group.size for group in self._ranking.groups}
        kept = {name: sizes[name] - len(set(gone)) for name, gone in plan.removed.items()}
        saved = 1.0 - cost(kept) / cost({})
        return Proposal(plan, multiple, 1.0 - self._kept[multiple] * saved)
