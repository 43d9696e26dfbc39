"""What was found, as values that are written as JSON and read back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from peers.results import ModelResult as LatencyResult

from bmopt.core.ranges import Interval
from bmopt.core.records import from_value, to_value


@dataclasses.dataclass(frozen=True)
class Score:
    """The accuracy of what one tool made of a model.

    Attributes:
        name: The tool, as ``--peers`` calls it; ``bmopt`` for ours.
        title: What the tables call it.
        note: Why there are no figures.
        agreement: Share of the samples on which it and FP32 choose the same class.
        top1: Share of the samples that it gets right.
        change: Paired 95 % interval of its top-1 minus FP32's.
        sqnr_db: Of the noisiest output.
    """

    name: str
    title: str
    note: str = ""
    agreement: float | None = None
    top1: float | None = None
    change: Interval | None = None
    sqnr_db: float | None = None


@dataclasses.dataclass(frozen=True)
class SchemeResult:
    """A model in one scheme, by all tools on the same samples.

    Attributes:
        target: bmopt's target.
        samples: Validation samples.
        fp32_top1: Share of them that FP32 gets right.
        rows: bmopt, then the peers.
        warnings: What does not fit together.
    """

    target: str
    samples: int = 0
    fp32_top1: float | None = None
    rows: tuple[Score, ...] = ()
    warnings: tuple[str, ...] = ()

    def row(self, name: str) -> Score | None:
        """Return a tool's row, None where it was left out."""
        return next((row for row in self.rows if row.name == name), None)


@dataclasses.dataclass(frozen=True)
class Step:
    """A model compiled with the steps of the ladder up to one of them.

    Attributes:
        name: The last of them, as the ladder calls it.
        note: Why there are no figures.
        agreement: Share of the samples on which it and FP32 choose the same class.
        sqnr_db: Of the noisiest output.
        seconds: Of the whole command.
    """

    name: str
    note: str = ""
    agreement: float | None = None
    sqnr_db: float | None = None
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Ladder:
    """What each rung buys a model in one scheme."""

    target: str
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one tool took to quantise a model, as a process of its own.

    Attributes:
        name: The tool.
        title: What the tables call it.
        note: Why there are no figures.
        seconds: From its start to its end, imports included.
        peak_bytes: The most memory that it had resident.
        refine_seconds: What the refinement of weights and biases took of that, of ours.
    """

    name: str
    title: str
    note: str = ""
    seconds: float | None = None
    peak_bytes: int | None = None
    refine_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """All that was found of one model.

    Attributes:
        name: The model.
        note: Why there is nothing at all.
        calibrated: Samples that every tool calibrated on.
        schemes: Accuracy.
        latency: Beside the peers, as their own comparison measures it; None where left out.
        ladders: The ablation; empty where left out.
        costs: bmopt's for every scheme, named after it, then the peers'.
        inference_seconds: Plain inference of the calibration samples in FP32.
    """

    name: str
    note: str = ""
    calibrated: int = 0
    schemes: tuple[SchemeResult, ...] = ()
    latency: LatencyResult | None = None
    ladders: tuple[Ladder, ...] = ()
    costs: tuple[Cost, ...] = ()
    inference_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Results:
    """A run.

    Attributes:
        command: What measures it again.
        preset: bmopt's, where nothing else is said.
        cpu: The host's.
        versions: Package -> version: what ran the models, then what made them.
        models: In the order they were measured.
    """

    command: str
    preset: str
    cpu: str
    versions: Mapping[str, str]
    models: tuple[ModelResult, ...]


def write_results(results: Results, path: Path) -> None:
    path.write_text(json.dumps(to_value(results), indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        ValueError: It is no such file.
    """
    return from_value(Results, json.loads(path.read_text(encoding="utf-8")), str(path))
