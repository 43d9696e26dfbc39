"""Quantise a model such that it keeps to a budget: from what is free to what costs latency.

Each rung of the ladder is taken only where the one before missed the budget, as judged on the
validation samples: ranges, then everything that refines weights for nothing, then products given
back to float, those first that buy most accuracy for their latency.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bmopt.bench.budget import Budget, Verdict
from bmopt.core.runner import Runner
from bmopt.graph.model_io import save_model
from bmopt.workflow.attempts import Approach, Attempt, attempt
from bmopt.workflow.evaluating import Evaluated, Evaluator
from bmopt.workflow.mixing import mixed, sensitivities
from bmopt.workflow.placing import Placed
from bmopt.workflow.preparing import Job
from bmopt.workflow.stand_in import is_foreign, open_source, open_stand_in
from bmopt.workflow.steps import Steps

MOST_EVALUATIONS = 6
"""Runs over all validation samples, the float model's included."""

_SAFETY = 0.7
_LEAST_SHARE = 0.01
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Rung:
    """One try.

    Attributes:
        name: What was done.
        attempt: What came of it.
        evaluated: How it fares on the validation samples.
    """

    name: str
    attempt: Attempt
    evaluated: Evaluated

    @property
    def verdict(self) -> Verdict:
        """What became of the budget."""
        assert self.evaluated.verdict is not None
        return self.evaluated.verdict

    def to_dict(self) -> dict[str, Any]:
        """Return a row of the report."""
        plan = self.attempt.plan
        return {
            "rung": self.name,
            "steps": list(self.attempt.steps.names),
            "products_in_integers": len(plan.weights),
            **self.verdict.to_dict(),
        }


@dataclasses.dataclass(frozen=True)
class Climb:
    """How far the ladder was climbed.

    Attributes:
        rungs: Every try, in order.
        best: The one that is kept: the first that met the budget, else the best of all.
        evaluations: Runs over all validation samples.
        noise: Product -> sensitivity, where it was measured.
    """

    rungs: tuple[Rung, ...]
    best: Rung
    evaluations: int
    noise: Mapping[str, float]

    @property
    def met(self) -> bool:
        """Whether the budget is kept to."""
        return self.best.verdict.met

    def to_dict(self) -> dict[str, Any]:
        """Return the report's section."""
        return {
            **self.best.verdict.to_dict(),
            "rungs": [rung.to_dict() for rung in self.rungs],
            "kept": self.best.name,
            "evaluations": self.evaluations,
            "in_the_way": [] if self.met else self.in_the_way(),
        }

    def in_the_way(self) -> list[str]:
        """Return the products in integers that the outputs suffer from most."""
        left = [name for name in self.noise if name in self.best.attempt.plan.weights]
        return sorted(left, key=lambda name: -self.noise[name])[:_NAMED]


def climb(job: Job, budget: Budget, approach: Approach, placed: Placed, steps: Steps) -> Climb:
    """Take rung after rung until the budget is kept to."""
    assert job.val is not None
    with Evaluator(
        job.val, job.batch_size, job.recipe.metric, budget, seed=job.recipe.seed
    ) as evaluator:
        with open_source(job.reference, job.path, job.target) as runner:
            evaluator.reference(runner)
        ladder = _Ladder(job, evaluator, budget, approach, placed)
        for name, chosen in _free_rungs(steps):
            if ladder.take(name, attempt(job, approach, chosen)):
                return ladder.climb()
        ladder.give_back()
        return ladder.climb()


def _free_rungs(steps: Steps) -> Iterator[tuple[str, Steps]]:
    """Yield rungs that cost no latency, the cheapest first."""
    plain = Steps.of({"ranges", "equalize"}.intersection(steps.names))
    yield "ranges", plain
    closed = Steps.of(set(steps.names) - {"learned"})
    if closed.refines:
        yield "refined", closed
    if "learned" in steps:
        yield "learned", steps


class _Ladder:
    def __init__(
        self,
        job: Job,
        evaluator: Evaluator,
        budget: Budget,
        approach: Approach,
        placed: Placed,
    ) -> None:
        self._job = job
        self._budget = budget
        self._evaluator = evaluator
        self._approach = approach
        self._placed = placed
        self._rungs: list[Rung] = []
        self._noise: Mapping[str, float] = {}

    def take(self, name: str, made: Attempt) -> bool:
        """Judge an attempt; return whether it keeps to the budget."""
        self._job.progress.step(f"accuracy: {name}")
        with opened_attempt(self._job, made) as runner:
            rung = Rung(name, made, self._evaluator.evaluate(runner))
        self._rungs.append(rung)
        return rung.verdict.met

    def give_back(self) -> None:
        """Give products back to float until the budget is kept to, or there is no more to try."""
        last = self._best().attempt
        if last.plan.weights:
            self._noise = sensitivities(self._job, last)
        share = 1.0
        while self._evaluator.evaluations < MOST_EVALUATIONS and self._noise:
            share *= _next_share(self._rungs[-1].verdict, self._budget)
            if self._evaluator.evaluations == MOST_EVALUATIONS - 1:
                share = min(share, _LEAST_SHARE)
            whole = sum(self._noise.values())
            names = mixed(self._job, last, self._placed.table, self._noise, share * whole)
            approach = self._approach.keeping(names)
            if not approach.plan().weights:
                return
            made = attempt(self._job, approach, last.steps)
            if self.take(f"{len(names)} products in float", made):
                return

    def climb(self) -> Climb:
        """Return what was tried."""
        met = [rung for rung in self._rungs if rung.verdict.met]
        best = met[0] if met else self._best()
        return Climb(tuple(self._rungs), best, self._evaluator.evaluations, self._noise)

    def _best(self) -> Rung:
        return min(self._rungs, key=lambda rung: _loss(rung.verdict))


def _loss(verdict: Verdict) -> float:
    """Return how bad a verdict is, lower is better."""
    if verdict.drop is not None:
        return verdict.drop
    return -verdict.candidate if math.isfinite(verdict.candidate) else math.inf


def _next_share(verdict: Verdict, budget: Budget) -> float:
    """Return what share of the noise may be left, where a rate falls as the noise's root."""
    if verdict.drop is None or verdict.drop <= 0:
        return 0.25
    allowed = budget.max_drop
    if budget.min_value is not None:
        unit = 100.0 if verdict.unit == "points" else 1.0
        room = abs(verdict.reference - budget.min_value) * unit
        allowed = room if allowed is None else min(allowed, room)
    assert allowed is not None
    wanted = max(allowed, verdict.resolvable / 4) / verdict.drop
    return min(max(_SAFETY * wanted**2, _LEAST_SHARE), 0.5)


@contextlib.contextmanager
def opened_attempt(job: Job, made: Attempt) -> Iterator[Runner]:
    """Yield an attempt opened as the artifact will be, or as its stand-in."""
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(made.model, path)
        if is_foreign(job.target) or not job.able.run:
            opened = open_stand_in(job.reference, path, job.target)
        else:
            opened = job.backend.open(path, job.target)
        with opened as runner:
            yield runner
