"""The search, on a workshop whose models take and lose what a formula says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir
import pytest

from bmopt.core.prune_plan import PrunePlan
from bmopt.core.prune_trials import Point
from bmopt.workflow.pruning.budget import PruneBudget
from bmopt.workflow.pruning.estimating import Proposal
from bmopt.workflow.pruning.searching import _better, within_budget, within_drop
from bmopt.workflow.pruning.workshop import Trial
from tests.graph.channels.random_graphs import picture_net

MODEL: ir.Model = picture_net(["conv"], 0)


@dataclasses.dataclass
class Shop:
    """Plans that have their ratio as the number of channels that are left of a thousand.

    Attributes:
        start: Latency of the uncut model, as a part of the float source's.
        fixed: Part of the latency that no cut takes off.
        smallest: The least ratio that can be.
        off: What its estimates are multiplied by.
        multiple: What widths are multiples of.
        slows: Multiple -> how much longer such widths take.
        same: Whether any multiple gives the same plan.
        judged: Whether what is lost is known.
    """

    start: float = 1.0
    fixed: float = 0.0
    smallest: float = 0.0
    can_time: bool = True

    off: float = 1.0
    multiple: int = 0
    slows: Mapping[int, float] = dataclasses.field(default_factory=dict)
    same: bool = False
    judged: bool = True

    def estimator(self, budget: PruneBudget, multiple: int = 0) -> Shop:
        del budget
        return dataclasses.replace(self, multiple=multiple or self.multiple)

    def propose(self, ratio: float) -> Proposal | None:
        left = round(1000 * ratio / self.off)
        if left < 1000 * self.smallest or left >= 1000:
            return None
        kind = "0" if self.same else str(self.multiple)
        plan = PrunePlan(kind, {"g": tuple(range(left))})
        return Proposal(plan, 1, self.off * left / 1000)

    def least(self) -> Proposal:
        left = round(1000 * self.smallest)
        return Proposal(PrunePlan("", {"g": tuple(range(left))}), 1, self.smallest)

    def learn(self, proposal: Proposal, measured: float) -> None:
        self.off *= measured / max(proposal.left, 1e-9)

    def tried(self, name: str, budget: str, plan: PrunePlan | None) -> Trial:
        left = 1.0 if plan is None else len(plan.removed["g"]) / 1000
        latency = self.start * (self.fixed + (1.0 - self.fixed) * left)
        slow = 1.0 if plan is None else self.slows.get(int(plan.model or 0), 1.0)
        drop = 10.0 * (1.0 - left) + 1.0 / slow - 1.0
        timed = (latency * slow, (latency * slow, latency * slow))
        lost = drop if self.judged else None
        return Trial(Point(name, budget, left, left, 1, *timed, drop=lost), plan, MODEL)


@pytest.mark.parametrize("start", [1.0, 0.4])
@pytest.mark.parametrize("fixed", [0.0, 0.3])
def test_a_latency_is_a_part_of_the_uncut_models_on_the_target(start: float, fixed: float) -> None:
    shop = Shop(start, fixed)
    found = within_budget(shop, PruneBudget("latency", 0.7), lambda _: None)
    assert not found.missed
    latency = found.best.point.latency
    assert latency is not None
    assert 0.6 <= latency / start <= 0.7


def test_what_cannot_be_met_has_the_closest() -> None:
    shop = Shop(fixed=0.8)
    found = within_budget(shop, PruneBudget("latency", 0.5), lambda _: None)
    assert found.missed.startswith("latency=0.5 is not met: the closest leaves 0.8")
    shop = Shop(smallest=0.6)
    found = within_budget(shop, PruneBudget("macs", 0.5), lambda _: None)
    assert found.missed == "macs=0.5 is not met: the closest leaves 0.600"
    assert len(found.trials) == 2


@pytest.mark.parametrize("can_time", [True, False])
def test_the_cheapest_within_a_drop_is_found(can_time: bool) -> None:
    told: list[Trial] = []
    found = within_drop(Shop(can_time=can_time), 3.0, told.append)
    assert found.trials == tuple(told)
    assert found.best.point.drop is not None
    assert 2.7 <= found.best.point.drop <= 3.0


def test_of_two_that_fit_the_one_that_lost_less_is_taken() -> None:
    def trial(drop: float | None, macs: float) -> Trial:
        return Trial(Point("", "", macs, macs, 1, 0.5, drop=drop), None, MODEL)

    mild, deep = trial(1.0, 0.4), trial(2.0, 0.6)
    assert _better(mild, deep) is _better(deep, mild) is mild
    small, large = trial(None, 0.4), trial(1.0, 0.6)
    assert _better(small, large) is _better(large, small) is large


@pytest.mark.parametrize(
    ("slows", "chosen"),
    [
        ({0: 2.0}, "multiples of 8"),  # both are quick, and lose the same
        ({0: 2.0, 8: 2.0}, "multiples of 16"),
        ({0: 2.0, 8: 3.0, 16: 2.5}, "multiples of 8"),  # all are slow: what loses least
        ({0: 1.2}, "cut 1"),  # not slower than no cut
    ],
)
def test_a_cut_that_costs_time_is_tried_at_other_widths(
    slows: Mapping[int, float], chosen: str
) -> None:
    found = within_budget(Shop(slows=slows), PruneBudget("macs", 0.7), lambda _: None)
    assert found.best.point.name == chosen
    assert len(found.trials) == (2 if chosen == "cut 1" else 4)


def test_the_fastest_widths_are_taken_where_losses_are_not_known() -> None:
    shop = Shop(slows={0: 2.0, 8: 1.3, 16: 1.1}, judged=False)
    found = within_budget(shop, PruneBudget("macs", 0.7), lambda _: None)
    assert found.best.point.name == "multiples of 16"


def test_a_plan_is_tried_once() -> None:
    shop = Shop(slows={0: 2.0}, same=True)
    assert len(within_budget(shop, PruneBudget("macs", 0.7), lambda _: None).trials) == 2


def test_widths_that_were_asked_for_are_kept() -> None:
    shop = Shop(multiple=4, slows={4: 2.0})
    assert len(within_budget(shop, PruneBudget("macs", 0.7), lambda _: None).trials) == 2
