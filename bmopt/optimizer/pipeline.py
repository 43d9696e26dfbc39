"""Ordered passes: read from text, run, checked, and accounted for."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import onnx_ir as ir

from bmopt.optimizer.equivalence import Equivalence, Reference
from bmopt.optimizer.pass_log import (
    PassRecord,
    PipelineLog,
    Rollback,
    TensorDifference,
    Verification,
)
from bmopt.optimizer.pipeline_text import Repeat, Step, format_steps, parse_steps
from bmopt.optimizer.stretch import OnPass, run_stretch
from bmopt.optimizer.validity import invalid_because


@dataclasses.dataclass(frozen=True)
class PipelineResult:
    """The rewritten model and what was done to it."""

    model: ir.Model
    log: PipelineLog


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Passes in order.

    Consecutive exact passes are a stretch: its result must be valid ONNX (where its start was)
    and, with ``verify``, give the start's results. A pass that breaks this, or raises, is rolled
    back, left out from there on and named in the log; the others run all the same. A lossy pass
    is a stretch of its own that is checked for validity only.

    Attributes:
        steps: Passes, and groups repeated to a fixed point.
    """

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Return the pipeline that ``text`` describes; ``str`` gives an equal text back.

        Raises:
            PassError: The text does not parse, or names an unknown pass or option.
        """
        return cls(parse_steps(text))

    def __str__(self) -> str:
        return format_steps(self.steps)

    def run(
        self,
        model: ir.Model,
        *,
        verify: Equivalence | None = None,
        on_pass: OnPass | None = None,
    ) -> PipelineResult:
        """Return a rewritten copy of ``model`` and the log; ``model`` itself is not changed.

        A model that the engine does not run with the feeds of ``verify`` is rewritten without
        comparison: the log's verdict says so.
        """
        rewritten = model
        records: list[PassRecord] = []
        rollbacks: list[Rollback] = []
        verdicts: list[Verification] = []
        for steps in self._stretches():
            check = _StretchCheck(rewritten, verify if _is_exact(steps[0]) else None)
            banned = frozenset(rollback.name for rollback in rollbacks)
            result = run_stretch(rewritten, steps, check, banned=banned, on_pass=on_pass)
            rewritten = result.model
            records += result.records
            rollbacks += result.rollbacks
            verdicts.append(check.verification(_is_exact(steps[0]), result.check_seconds))
        log = PipelineLog(tuple(records), tuple(rollbacks), _summary(verdicts))
        rewritten.meta.update(model.meta)
        return PipelineResult(rewritten, log)

    def _stretches(self) -> Iterator[tuple[Step, ...]]:
        exact: list[Step] = []
        for step in self.steps:
            if _is_exact(step):
                exact.append(step)
                continue
            if exact:
                yield tuple(exact)
            yield (step,)
            exact = []
        if exact:
            yield tuple(exact)


def _is_exact(step: Step) -> bool:
    return isinstance(step, Repeat) or step.effect == "exact"


class _StretchCheck:
    """The validity and, where asked for and possible, the results of a stretch's start."""

    def __init__(self, source: ir.Model, verify: Equivalence | None) -> None:
        start_ns = time.perf_counter_ns()
        self._starts_valid = invalid_because(source) is None
        self._verify = verify
        self._reference: Reference | None = None if verify is None else verify.reference(source)
        self._seconds = (time.perf_counter_ns() - start_ns) / 1e9

    def fault(self, model: ir.Model) -> str | None:
        """Return what is wrong with ``model``, None where nothing is."""
        complaint = invalid_because(model) if self._starts_valid else None
        if complaint is not None:
            return f"made an invalid model ({complaint})"
        if self._verify is None or self._reference is None or self._reference.reason:
            return None
        return self._verify.fault(self._reference, model)

    def locate(self, before: ir.Model, after: ir.Model) -> TensorDifference | None:
        """Return the first tensor that differs, None where results are not compared."""
        if self._verify is None or self._reference is None:
            return None
        return dataclasses.replace(self._verify, feeds=self._reference.feeds).locate(before, after)

    def verification(self, exact: bool, seconds: float) -> Verification:
        """Return the verdict; ``seconds`` is the time spent beside the passes."""
        total = self._seconds + seconds
        if not exact:
            return Verification("equivalent", "", total)
        if self._reference is None:
            return Verification("not verified", "not asked for", total)
        if self._reference.reason:
            return Verification("not verified", self._reference.reason, total)
        feeds = len(self._reference.feeds)
        return Verification("equivalent", f"compared on {feeds} feeds", total)


def _summary(verdicts: list[Verification]) -> Verification:
    """Return one verdict: equivalent only if every stretch of exact passes is."""
    seconds = sum(verdict.seconds for verdict in verdicts)
    doubts = [v for v in verdicts if v.verdict == "not verified"]
    told = [*doubts, *(v for v in verdicts if v.reason)]
    if not told:
        return Verification("not verified", "no exact passes", seconds)
    return dataclasses.replace(told[0], seconds=seconds)
