"""Placements of a model timed as whole models, in turns, the slow ones dropping out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from bmopt.bench.compare import compare_latency
from bmopt.bench.statistics import ratio
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scheme import FloatRules
from bmopt.workflow.quantizing import Quantizer

FLOAT = "float"
"""What the float model is called among the candidates."""

_BLOCK_MS = 10.0
_CLEAR_GAIN = 0.99


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A placement in the race.

    Attributes:
        name: What it is called.
        plan: Its plan.
        keep_float: The nodes kept in float by name.
        rules: The rules that keep others so.
        integer_work: Multiply-adds in integers.
        predicted_ns: What a latency table says an inference takes; None without one.
    """

    name: str
    plan: QuantPlan
    keep_float: tuple[str, ...] = ()
    rules: FloatRules = dataclasses.field(default_factory=FloatRules)
    integer_work: int = 0
    predicted_ns: float | None = None


class Race:
    """Candidates beside the float model; a context manager that closes what it opened.

    Heats halve the field: what is slow is found out in short ones, and the time is spent on those
    that are close (K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and
    hyperparameter optimization", AISTATS 2016). Every heat has the float model in it.
    """

    def __init__(self, quantizer: Quantizer, feeds: Sequence[Feeds]) -> None:
        self._quantizer = quantizer
        self._feeds = feeds
        self._stack = contextlib.ExitStack()
        self._runners: dict[str, Runner] = {}
        self._entered: dict[str, Candidate] = {}
        self._ratios: dict[str, float] = {}

    def __enter__(self) -> Race:  # noqa: PYI034 - Self needs Python 3.11
        opened = self._quantizer.opener.opened(self._quantizer.model)
        self._runners[FLOAT] = self._stack.enter_context(opened)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def ratios(self) -> Mapping[str, float]:
        """Every candidate's latency relative to the float model's, from its last heat."""
        return dict(sorted(self._ratios.items(), key=lambda item: item[1]))

    def enter(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Open candidates and return those that no other one was the same as."""
        new = []
        for one in candidates:
            known = any(other.plan.integer == one.plan.integer for other in self._entered.values())
            if known or not one.plan.integer:
                continue
            model = self._quantizer.apply(one.plan)
            opened = self._quantizer.opener.opened(model)
            self._runners[one.name] = self._stack.enter_context(opened)
            self._entered[one.name] = one
            new.append(one)
        return new

    def heat(self, field: Sequence[Candidate], seconds: float) -> list[Candidate]:
        """Time candidates for about ``seconds`` and return them by their latency."""
        names = [one.name for one in field]
        runners = {name: self._runners[name] for name in (FLOAT, *names)}
        if not names:
            return []
        timed = compare_latency(runners, self._feeds, duration_s=seconds, block_ms=_BLOCK_MS)
        found = {name: ratio(timed, FLOAT, name).ratio for name in names}
        self._ratios.update(found)
        return sorted(field, key=lambda one: found[one.name])


def winner(field: Sequence[Candidate], ratios: Mapping[str, float]) -> Candidate | None:
    """Return the fastest of those that are faster than float, None where there is none.

    Of those within 1 % of it, the one with the most integers.
    """
    faster = [one for one in field if ratios[one.name] < 1.0]
    if not faster:
        return None
    bar = min(ratios[one.name] for one in faster) / _CLEAR_GAIN
    close = [one for one in faster if ratios[one.name] <= bar]
    return max(close, key=lambda one: (one.integer_work, len(one.plan.integer)))
