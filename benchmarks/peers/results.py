"""What the comparison found, as values that are written as JSON and read back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from bmopt.core.ranges import Interval
from bmopt.core.records import from_value, to_value


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A ratio of latencies with its 99 % interval and what that allows to say."""

    ratio: float
    low: float
    high: float
    verdict: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One tool on one model.

    Attributes:
        name: The tool, as ``--peer`` calls it; ``bmopt`` for ours.
        title: What the table calls it.
        engine: What ran the model.
        note: Why there are no figures, or only some: ``skipped: ...`` or ``failed: ...``.
        detail: What else is to be told of its model.
        value: The metric.
        difference: 99 % interval of it minus that of the FP32 model.
        agreement: Share of the samples on which both say the same.
        to_fp32: Its latency over that of the FP32 model on ONNX Runtime.
        ours_to_it: bmopt's latency over its.
        median_ns: Of its latency.
        size_bytes: Of its model.
        seconds: What the quantiser took, the whole process.
        peak_bytes: The most memory that the process had.
        is_for_tensorrt: Whether its model was never meant for the engine that ran it.
    """

    name: str
    title: str
    engine: str = ""
    note: str = ""
    detail: str = ""
    value: float | None = None
    difference: Interval | None = None
    agreement: float | None = None
    to_fp32: Ratio | None = None
    ours_to_it: Ratio | None = None
    median_ns: float | None = None
    size_bytes: int | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    is_for_tensorrt: bool = False


@dataclasses.dataclass(frozen=True)
class Check:
    """What another tool's benchmark says of a file that ``bmopt bench`` timed as well.

    Attributes:
        tool: The other benchmark.
        file: What both timed.
        note: Why there is no figure.
        median_ns: What the tool says.
        bmopt_ns: What ``bmopt bench`` says.
    """

    tool: str
    file: str
    note: str = ""
    median_ns: float | None = None
    bmopt_ns: float | None = None


@dataclasses.dataclass(frozen=True)
class ModelResult:
    """All tools on one model.

    Attributes:
        name: The model.
        metric: What its accuracy is measured with; the outputs' noise without labels.
        fraction: Whether the metric is shown in per cent.
        calibrated: Samples that every tool calibrated on.
        samples: Samples that accuracy was measured on.
        fp32: The FP32 model on ONNX Runtime.
        rows: The tools.
        checks: Other benchmarks.
        warnings: What ``bmopt bench`` distrusts.
        note: Why there is nothing at all.
    """

    name: str
    metric: str = ""
    fraction: bool = True
    calibrated: int = 0
    samples: int = 0
    fp32: Row | None = None
    rows: tuple[Row, ...] = ()
    checks: tuple[Check, ...] = ()
    warnings: tuple[str, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Results:
    """A run of the comparison.

    Attributes:
        command: What measures it again.
        cpu: The host's.
        versions: Package -> version: bmopt's, then every tool's environment's.
        engines: Engine -> version, as bmopt ran it.
        models: In the order they were measured.
    """

    command: str
    cpu: str
    versions: Mapping[str, str]
    engines: Mapping[str, str]
    models: tuple[ModelResult, ...]


def write_results(results: Results, path: Path) -> None:
    path.write_text(json.dumps(to_value(results), indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        ValueError: It is no such file.
    """
    return from_value(Results, json.loads(path.read_text(encoding="utf-8")), str(path))
