"""What a pipeline did: values only."""

from __future__ import annotations

import dataclasses
from typing import Literal

from bmopt.optimizer.pass_base import Refusal

Verdict = Literal["equivalent", "not verified"]


@dataclasses.dataclass(frozen=True)
class TensorDifference:
    """How far one tensor is off.

    Attributes:
        tensor: The tensor's name.
        max_abs: Largest absolute error; infinite where shapes, types or NaNs differ.
        max_rel: ``max_abs`` over the largest finite magnitude of the reference.
        detail: What differs where it is not a matter of numbers, else empty.
    """

    tensor: str
    max_abs: float
    max_rel: float
    detail: str = ""

    def __str__(self) -> str:
        if self.detail:
            return f"tensor {self.tensor!r}: {self.detail}"
        return f"tensor {self.tensor!r}: max error {self.max_abs:.3g} ({self.max_rel:.3g} of max)"


@dataclasses.dataclass(frozen=True)
class PassRecord:
    """One run of one pass.

    Attributes:
        name: The pass with its options, as in the pipeline's text.
        seconds: Time of the pass itself; verification is counted apart.
        nodes_before: Nodes in the model before it, through sub-graphs and functions.
        nodes_after: The same after it.
        modified: Whether it changed the model.
        refusals: Rewrites that matched and were not made, and why.
    """

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    modified: bool
    refusals: tuple[Refusal, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rollback:
    """A pass that broke the model and was left out from there on.

    Attributes:
        name: The pass with its options.
        reason: What it did, as the end of a sentence that starts with the pass' name.
        difference: The first tensor that it changed, where results differ and one was found.
    """

    name: str
    reason: str
    difference: TensorDifference | None = None

    def __str__(self) -> str:
        where = "" if self.difference is None else f"; first {self.difference}"
        return f"{self.name} {self.reason}{where}; rolled back"


@dataclasses.dataclass(frozen=True)
class Verification:
    """Whether results were compared, and what that took.

    Attributes:
        verdict: ``"equivalent"``: compared, and equal within the tolerance.
        reason: Why they were not compared, or on how many feeds they were.
        seconds: Time of all comparing, bisecting and running passes again.
    """

    verdict: Verdict
    reason: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class PipelineLog:
    """What a pipeline did, pass by pass.

    Attributes:
        records: Every run of a pass that led to the result, in order.
        rollbacks: Passes that were left out because they broke the model.
        verification: The verdict on the exact passes.
    """

    records: tuple[PassRecord, ...]
    rollbacks: tuple[Rollback, ...]
    verification: Verification

    @property
    def seconds(self) -> float:
        """Time of the passes, verification excluded."""
        return sum(record.seconds for record in self.records)

    @property
    def modified(self) -> bool:
        """Whether any pass changed the model."""
        return any(record.modified for record in self.records)

    def by_pass(self) -> tuple[PassRecord, ...]:
        """Return one record per pass, runs added up, in order of first appearance.

        Nodes are those before its first and after its last run only where it ran once;
        otherwise ``nodes_before - nodes_after`` is what the pass took away in all. Refusals are
        those of the last run: an earlier refusal may have been resolved since.
        """
        merged: dict[str, PassRecord] = {}
        for record in self.records:
            first = merged.get(record.name)
            merged[record.name] = record if first is None else _added(first, record)
        return tuple(merged.values())


def _added(first: PassRecord, later: PassRecord) -> PassRecord:
    return dataclasses.replace(
        first,
        seconds=first.seconds + later.seconds,
        nodes_after=first.nodes_after + later.nodes_after - later.nodes_before,
        modified=first.modified or later.modified,
        refusals=later.refusals,
    )
