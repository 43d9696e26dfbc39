"""One stretch of passes: run, checked, and run again without whatever broke the model.

Nothing is copied per pass. When the result of a stretch is wrong, the passes are run again from
its start, up to the middle, and so on: the guilty one is found after log2(n) comparisons. A pass
is therefore deterministic.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import onnx_ir as ir

from bmopt.errors import BmoptError
from bmopt.graph.nesting import nodes_in
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.pass_log import PassRecord, Rollback, TensorDifference
from bmopt.optimizer.pipeline_text import Repeat, Step, pass_text
from bmopt.optimizer.validity import BREAKAGES, one_line

OnPass = Callable[[PassRecord, ir.Model], None]
"""Called after each run of a pass, also of one that is rolled back later."""


class Check(Protocol):
    """Judges models against the one that a stretch started from."""

    def fault(self, model: ir.Model) -> str | None:
        """Return what is wrong with ``model``, in words that follow a pass' name."""

    def locate(self, before: ir.Model, after: ir.Model) -> TensorDifference | None:
        """Return the first tensor that differs between two models."""


@dataclasses.dataclass(frozen=True)
class StretchResult:
    """What a stretch led to.

    Attributes:
        model: The last model without a fault.
        records: The runs of passes that led to it.
        rollbacks: The passes left out.
        check_seconds: Time of checking, and of runs that led nowhere.
    """

    model: ir.Model
    records: tuple[PassRecord, ...]
    rollbacks: tuple[Rollback, ...]
    check_seconds: float


class _BrokenPassError(Exception):
    """A pass raised; the model is in an unknown state."""

    def __init__(self, rewrite: Pass, reason: str) -> None:
        super().__init__(reason)
        self.rewrite = rewrite
        self.reason = reason


@dataclasses.dataclass
class _Trial:
    """One attempt at a stretch.

    Attributes:
        model: Changed by every pass.
        banned: Passes that are skipped, by text.
        on_pass: Told of each run.
        applied: The passes run so far.
        records: The same for the log.
        version: Counts changes; a pass that has seen this version already is not run again.
        seen: Pass text -> the version that it left behind.
    """

    model: ir.Model
    banned: frozenset[str]
    on_pass: OnPass | None
    applied: list[Pass] = dataclasses.field(default_factory=list)
    records: list[PassRecord] = dataclasses.field(default_factory=list)
    version: int = 0
    seen: dict[str, int] = dataclasses.field(default_factory=dict)

    def run(self, steps: Sequence[Step]) -> None:
        """Run ``steps`` in order; a group until none of its passes changes the model."""
        for step in steps:
            if not isinstance(step, Repeat):
                self._run_pass(step)
                continue
            for _ in range(step.limit):
                version = self.version
                self.run(step.steps)
                if self.version == version:
                    break

    def _run_pass(self, rewrite: Pass) -> None:
        text = pass_text(rewrite)
        if text in self.banned or self.seen.get(text) == self.version:
            return
        before = count_nodes(self.model)
        start_ns = time.perf_counter_ns()
        outcome = _apply(rewrite, self.model)
        seconds = (time.perf_counter_ns() - start_ns) / 1e9
        self.version += outcome.modified
        self.seen[text] = self.version
        after = count_nodes(self.model) if outcome.modified else before
        refusals = outcome.refusals if isinstance(outcome, Outcome) else ()
        record = PassRecord(text, seconds, before, after, outcome.modified, refusals)
        self.applied.append(rewrite)
        self.records.append(record)
        if self.on_pass is not None:
            self.on_pass(record, self.model)


def run_stretch(
    source: ir.Model,
    steps: Sequence[Step],
    check: Check,
    *,
    banned: frozenset[str] = frozenset(),
    on_pass: OnPass | None = None,
) -> StretchResult:
    """Run ``steps`` on a copy of ``source``, leaving out every pass that breaks the model.

    A pass that raises, or after which ``check`` finds a fault, is banned and the stretch starts
    again; each start bans one pass, so this ends.

    Raises:
        BmoptError: A lossy pass refused its work; what it applies was asked for, so going on
            without it would not be.
    """
    rollbacks: list[Rollback] = []
    start_ns = time.perf_counter_ns()
    while True:
        trial = _Trial(source.clone(), banned, on_pass)
        try:
            trial.run(steps)
            rollback = _examine(source, trial, check)
        except _BrokenPassError as broken:
            rollback = Rollback(pass_text(broken.rewrite), broken.reason)
        if rollback is None:
            break
        rollbacks.append(rollback)
        banned |= {rollback.name}
    passes_seconds = sum(record.seconds for record in trial.records)
    check_seconds = (time.perf_counter_ns() - start_ns) / 1e9 - passes_seconds
    return StretchResult(trial.model, tuple(trial.records), tuple(rollbacks), check_seconds)


def count_nodes(model: ir.Model) -> int:
    """Return how many nodes the model has, through sub-graphs and functions."""
    functions = sum(1 for function in model.functions.values() for _ in nodes_in(function))
    return functions + sum(1 for _ in nodes_in(model.graph))


def _apply(rewrite: Pass, model: ir.Model) -> ir.passes.PassResult:
    try:
        return rewrite(model)
    except BREAKAGES as error:
        if isinstance(error, BmoptError) and rewrite.effect == "lossy":
            raise
        raise _BrokenPassError(rewrite, f"raised {one_line(error)}") from error


def _examine(source: ir.Model, trial: _Trial, check: Check) -> Rollback | None:
    """Return the pass to roll back, None where the trial's model has no fault."""
    if not trial.applied or (fault := check.fault(trial.model)) is None:
        return None
    good, bad, base = 0, len(trial.applied), source.clone()
    while bad - good > 1:
        middle = (good + bad) // 2
        candidate = _replay(base, trial.applied[good:middle])
        middle_fault = check.fault(candidate)
        if middle_fault is None:
            good, base = middle, candidate
        else:
            bad, fault = middle, middle_fault
    guilty = trial.applied[good]
    difference = check.locate(base, _replay(base, [guilty]))
    return Rollback(pass_text(guilty), fault, difference)


def _replay(base: ir.Model, passes: Sequence[Pass]) -> ir.Model:
    copy = base.clone()
    for rewrite in passes:
        _apply(rewrite, copy)
    return copy
