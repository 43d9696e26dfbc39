"""How many channels each group keeps, so that a budget is met at the least loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bmopt.calibration.pruning.ranking import Level, Ranking
from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PruningError

Floats = npt.NDArray[np.float64]

Cost = Callable[[Mapping[str, int]], float]
"""What a model costs of which groups keep so many channels."""

_MOST_LEVELS = 64
_REACHES = (1, 2, 4, 8, 16, 32)
"""How many levels further down a step may go."""
_MOST_EXCHANGES = 400
_LEAST_GAIN = 1e-9


def allocate(ranking: Ranking, cost: Cost, limit: float, *, multiple: int = 1) -> PrunePlan:
    """Return which channels go so that a model costs at most ``limit``.

    From the whole model on, the step is taken that loses the least for what it saves, as far as
    it saves what is still needed. Then groups are exchanged: one gets channels back, another pays
    for it, as long as that loses less. ``cost`` need not be a sum over groups.

    Args:
        ranking: The channels of every group in order, and losses, which are added.
        cost: What a model costs.
        limit: In the same unit.
        multiple: What stays of a group is a multiple of this, or all of it.

    Raises:
        PruningError: Even the smallest model costs more; the message has how much.
    """
    state = _State(ranking, cost, multiple)
    while state.cost > limit:
        step = _cheapest(state, limit)
        if step is None:
            raise PruningError(
                f"the budget of {limit:g} cannot be met: with as little as may be left of every "
                f"group the model still costs {state.cost:g}"
            )
        state.move({**state.at, step[0]: step[1]})
    for _ in range(_MOST_EXCHANGES):
        better = _exchange(state, limit)
        if better is None:
            break
        state.move(better)
    return ranking.plan(state.kept())


def smallest(ranking: Ranking, *, multiple: int = 1) -> PrunePlan:
    """Return the plan that cuts every group as far as ``allocate`` would."""
    return ranking.plan(
        {
            group.name: levels_between(group.losses, multiple)[-1].kept
            for group in ranking.groups
            if group.losses
        }
    )


def expected_loss(ranking: Ranking, plan: PrunePlan) -> float:
    """Return the sum of what the groups lose by a plan, as their losses tell it."""
    total = 0.0
    for group in ranking.groups:
        if group.losses:
            left = group.size - len(plan.removed.get(group.name, ()))
            total += float(np.interp(left, *_curve(group.losses)))
    return total


def levels_between(measured: Sequence[Level], multiple: int) -> tuple[Level, ...]:
    """Return the widths that a group may have, all of it first.

    Losses grow as channels go: where they were measured not to, the larger one holds. Between
    two measured widths they lie on a line.

    Args:
        measured: Some widths, all of the group among them.
        multiple: Every width but the first is a multiple of this, at least the smallest
            measured; where 0 was measured, it is the last one.
    """
    kept, loss = _curve(measured)
    least, full = int(kept[kept > 0][0]), int(kept[-1])
    smaller = [one for one in range(full - 1, least - 1, -1) if one % multiple == 0]
    every = -(-len(smaller) // _MOST_LEVELS)
    wanted = [full, *(smaller[every - 1 :: every] if smaller else [])]
    wanted += [0] if kept[0] == 0 else []
    found = np.interp(wanted, kept, loss)
    return tuple(Level(one, float(at)) for one, at in zip(wanted, found, strict=True))


def _curve(measured: Sequence[Level]) -> tuple[Floats, Floats]:
    """Return widths from the smallest on, and losses that fall as they grow."""
    ordered = sorted(measured, key=lambda level: -level.kept)
    kept = np.array([level.kept for level in ordered], np.float64)
    loss = np.maximum.accumulate([level.loss for level in ordered])
    return kept[::-1], loss[::-1]


class _State:
    """Where each group is among its levels."""

    def __init__(self, ranking: Ranking, cost: Cost, multiple: int) -> None:
        self.levels = {
            group.name: levels_between(group.losses, multiple)
            for group in ranking.groups
            if group.losses
        }
        self.at = dict.fromkeys(self.levels, 0)
        self._cost = cost
        self._known: dict[tuple[int, ...], float] = {}
        self.cost = self.cost_at(self.at)

    def cost_at(self, at: Mapping[str, int]) -> float:
        """Return what the levels ``at`` cost, in the order of ``levels``."""
        key = tuple(at.values())
        if key not in self._known:
            self._known[key] = self._cost(
                {name: self.levels[name][place].kept for name, place in at.items()}
            )
        return self._known[key]

    def rise(self, name: str, place: int) -> float:
        """Return how much more is lost if a group moves to another level."""
        levels = self.levels[name]
        return levels[place].loss - levels[self.at[name]].loss

    def move(self, at: Mapping[str, int]) -> None:
        """Take other levels."""
        self.at = dict(at)
        self.cost = self.cost_at(self.at)

    def kept(self) -> dict[str, int]:
        """Return how many channels of each group stay."""
        return {name: self.levels[name][place].kept for name, place in self.at.items()}

    def below(self, name: str) -> list[int]:
        """Return levels further down that a step may lead to."""
        last, place = len(self.levels[name]) - 1, self.at[name]
        nearer = [place + reach for reach in _REACHES if place + reach < last]
        return [*nearer, last] if place < last else []


def _cheapest(state: _State, limit: float) -> tuple[str, int] | None:
    """Return the step down that loses the least for each unit of what it saves."""
    found: list[tuple[float, str, int]] = []
    for name in state.at:
        for place in state.below(name):
            saved = state.cost - state.cost_at({**state.at, name: place})
            useful = min(saved, state.cost - limit)
            if useful > 0:
                found.append((state.rise(name, place) / useful, name, place))
    if not found:
        # Where kernels like multiples, one step may save nothing by itself.
        found = [
            (state.rise(name, place), name, place)
            for name in state.at
            for place in state.below(name)[:1]
        ]
    return min(found)[1:] if found else None


def _exchange(state: _State, limit: float) -> dict[str, int] | None:
    """Return levels that lose less within the limit: one group up, at most one down.

    Up may be all the way: in between, a kernel may need longer for less.
    """
    best, found = -_LEAST_GAIN, None
    for name, place in state.at.items():
        for back in sorted({*_REACHES[:3], place}):
            if not 0 < back <= place:
                continue
            raised = {**state.at, name: place - back}
            gain = state.rise(name, place - back)
            for lost, levels in _paid(state, raised, name, limit):
                if gain + lost < best:
                    best, found = gain + lost, levels
    return found


def _paid(
    state: _State, raised: Mapping[str, int], up: str, limit: float
) -> list[tuple[float, dict[str, int]]]:
    """Return what other groups lose that pay for a group's channels, and the levels then."""
    if state.cost_at(raised) <= limit:
        return [(0.0, dict(raised))]
    found = []
    for name in raised:
        for place in state.below(name) if name != up else ():
            levels = {**raised, name: place}
            if state.cost_at(levels) <= limit:
                found.append((state.rise(name, place), levels))
                break
    return found
