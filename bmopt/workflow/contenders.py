"""Placements that are worth a race: those that a latency table suggests, and those of rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from bmopt.calibration.placement_cut import cheapest
from bmopt.calibration.toggles import toggles_of
from bmopt.core.latency_table import LatencyTable
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import Method
from bmopt.core.scheme import FloatRules
from bmopt.workflow.quantizing import Quantizer, candidates, format_rules
from bmopt.workflow.racing import Candidate

_BORDER_FACTORS = (1.0, 0.5, 2.0)
_MOST_NEIGHBOURS = 3
_MOST_TRIED = 8


class Contenders:
    """Makes candidates for one quantiser and latency table.

    Attributes:
        table: The latency table, without groups that are not to be switched.
    """

    def __init__(self, quantizer: Quantizer, method: Method, table: LatencyTable) -> None:
        self._quantizer = quantizer
        self._method = method
        self._everything = quantizer.plan(method, FloatRules())
        self._toggles = toggles_of(quantizer.model, self._everything, quantizer.scheme)
        # A table from elsewhere may have more: what the user keeps in float anyway.
        groups = {n: one for n, one in table.groups.items() if n in self._toggles.groups}
        self.table = dataclasses.replace(table, groups=groups)

    def cut(self, factor: float = 1.0) -> Candidate:
        """Return the table's fastest placement, with the costs of borders times ``factor``."""
        kept = cheapest(self.table.groups, self.table.scaled(factor).borders)
        return self.of("cut" if factor == 1.0 else f"cut, borders x{factor:g}", kept)

    def of(self, name: str, kept: Collection[str]) -> Candidate:
        """Return the candidate that keeps the groups ``kept`` in float.

        Most nodes that are no products follow what they read; only others are kept by name.
        """
        products = [n for n in self._toggles.groups if n in kept and self._is_product(n)]
        plan = self._planned(products)
        others = [n for n in plan.integer if n in kept]
        if others:
            plan = self._planned([*products, *others])
        return self._candidate(name, plan, (*products, *others))

    def first(self, most: int) -> list[Candidate]:
        """Return up to ``most`` candidates: all in integers, cuts, rules, then others by rules.

        Those come in the order that the table predicts.
        """
        rules = self._quantizer.scheme.rules
        by_rules = [self._by_rules(one) for one in (FloatRules(), rules)]
        cuts = [self.cut(factor) for factor in _BORDER_FACTORS]
        others = [self._by_rules(one) for one in candidates(rules, self._quantizer.scheme.side)]
        others.sort(key=lambda one: one.predicted_ns or 0.0)
        return _distinct([by_rules[0], *cuts, by_rules[1], *others])[:most]

    def neighbours(self, leader: Candidate) -> list[Candidate]:
        """Return placements with one product switched where the leader's float region ends."""
        kept = self._kept(leader.plan)
        sides = {n: n not in kept for n in self._toggles.groups if self._is_product(n)}
        switched = sorted(
            (name for name in sides if self._is_at_border(name, kept)),
            key=lambda name: (self.table.predicted_ns(kept ^ {name}), name),
        )
        found = [self._switched(name, sides) for name in switched[:_MOST_TRIED]]
        found.sort(key=lambda one: one.predicted_ns or 0.0)
        return _distinct(found, but=leader)[:_MOST_NEIGHBOURS]

    def _switched(self, name: str, sides: Mapping[str, bool]) -> Candidate:
        fixed = {n: side != (n == name) for n, side in sides.items()}
        kept = cheapest(self.table.groups, self.table.borders, fixed=fixed)
        return self.of(f"leader, {name} in {'float' if sides[name] else 'integers'}", kept)

    def _is_at_border(self, name: str, kept: Collection[str]) -> bool:
        """Whether a neighbour of a product, or one behind an Add or a pool, is elsewhere."""
        in_float = (not other or other in kept for other in self._around(name))
        return any(found != (name in kept) for found in in_float)

    def _around(self, name: str) -> Iterator[str]:
        """Yield the groups around a product; empty is what always is in float."""
        for near in self._adjacent(name):
            yield near
            if near and not self._is_product(near):
                yield from self._adjacent(near)

    def _adjacent(self, name: str) -> Iterator[str]:
        for _, border in self._toggles.borders_of(name):
            yield from (other for other in (border.writer, *border.readers) if other != name)

    def _by_rules(self, rules: FloatRules) -> Candidate:
        plan = self._quantizer.plan(self._method, rules)
        return self.of(f"rules {format_rules(rules)}", self._kept(plan))

    def _candidate(self, name: str, plan: QuantPlan, keep_float: tuple[str, ...]) -> Candidate:
        work = sum(self._toggles.groups[n].work for n in plan.integer if n in self._toggles.groups)
        predicted = self.table.predicted_ns(self._kept(plan))
        return Candidate(name, plan, keep_float, FloatRules(), work, predicted)

    def _kept(self, plan: QuantPlan) -> frozenset[str]:
        return frozenset(self._everything.integer) - set(plan.integer)

    def _planned(self, kept: Collection[str]) -> QuantPlan:
        return self._quantizer.plan(self._method, FloatRules(), keep_float=tuple(kept))

    def _is_product(self, name: str) -> bool:
        return self._toggles.groups[name].work > 0


def _distinct(found: list[Candidate], but: Candidate | None = None) -> list[Candidate]:
    """Return those that differ, the first of equals."""
    seen: list[tuple[str, ...]] = [()] if but is None else [(), but.plan.integer]
    kept = []
    for one in found:
        if one.plan.integer not in seen:
            seen.append(one.plan.integer)
            kept.append(one)
    return kept
