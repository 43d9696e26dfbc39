"""The document of a benchmark: everything that was measured, and nothing computed from it.

``bmopt bench`` writes one, ``bmopt report`` draws it. Every section may be empty. Ratios,
percentiles and verdicts are functions of the raw samples in it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bmopt.core.measurement import Fact, Measurement
from bmopt.core.prune_trials import PruneTrials
from bmopt.core.ranges import Interval
from bmopt.core.records import from_value, to_value
from bmopt.core.scenario import ScenarioRun
from bmopt.errors import ArtifactError

KEY = "bmopt_bench"
"""Marks the document, and is its version."""

VERSION = 1

_MEASUREMENTS = ("measurement", "noise_floor")
_OWN_FORMATS = (KEY, *_MEASUREMENTS, "scenarios")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model or artifact that was measured.

    Attributes:
        name: What the other sections call it; a variant of the measurement.
        spec: As it was given: a path, or ``engine:path``.
        kind: ``"artifact"``, ``"model"`` or the like.
        target: What it was compiled for.
        digest: Of its files.
        size_bytes: On disk.
        engine: What ran it.
        versions: Package -> version, of the engine and what it needs.
        error: Why it has no results, or only some; empty where nothing went wrong.
    """

    name: str
    spec: str = ""
    kind: str = ""
    target: str = ""
    digest: str = ""
    size_bytes: int | None = None
    engine: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""


@dataclasses.dataclass(frozen=True)
class ProcessCost:
    """What one subject cost in one process of its own; a subject has one entry per process.

    Attributes:
        subject: Whose process it was.
        load_ns: How long it took to open the model.
        first_inference_ns: Latency of the first inference.
        cold_start_ns: From the start of the process to its first answer.
        peak_memory_bytes: The most memory that the process had resident.
        facts: Whatever else is known of it.
    """

    subject: str
    load_ns: int | None = None
    first_inference_ns: int | None = None
    cold_start_ns: int | None = None
    peak_memory_bytes: int | None = None
    facts: Mapping[str, Fact] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Throughput:
    """Samples per second at one batch size and number of threads, back to back in one process.

    Attributes:
        subject: Whose throughput it is.
        batch: Samples of an inference.
        threads: Threads of the session.
        per_second: Samples per second.
        latency_ns: Every inference it comes from.
    """

    subject: str
    batch: int
    threads: int
    per_second: float
    latency_ns: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Energy:
    """Energy of one inference by one meter; ``note`` says why there is none."""

    subject: str
    joules: float | None = None
    source: str = ""
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """One metric of a subject beside the reference's, on the same samples.

    Attributes:
        subject: Whose metric it is.
        metric: Its name, as in ``"top1"``.
        reference: The reference's value; None where only agreement with it is known.
        candidate: The subject's value.
        difference: 99 % interval of candidate minus reference.
        p_value: Of McNemar's test, where there is right and wrong.
        samples: How many samples both ran on.
        fraction: Whether values are fractions, to be shown in per cent.
        higher_is_better: False of errors.
        note: Why there is no interval; empty where there is one.
    """

    subject: str
    metric: str
    candidate: float
    reference: float | None = None
    difference: Interval | None = None
    p_value: float | None = None
    samples: int = 0
    fraction: bool = True
    higher_is_better: bool = True
    note: str = ""


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """Time of one kernel, told by the nodes of the original model that it computes.

    Attributes:
        nodes: Names of these nodes.
        op: Their op, or the kernel's.
        ns: Time of one inference spent in it, in nanoseconds.
        share: Of the whole inference, 0 to 1.
        macs: Multiply-adds, where they are known.
        bytes: What it has to read and write at least.
        bound: ``"compute"``, ``"memory"``, ``"overhead"``, or empty.
        gain_ns: What is left to gain up to the roof.
        dtype: What it computes in.
        schedule: How its loops are arranged, where the engine tells.
    """

    nodes: tuple[str, ...]
    op: str
    ns: float
    share: float = 0.0
    macs: int | None = None
    bytes: int | None = None
    bound: str = ""
    gain_ns: float | None = None
    dtype: str = ""
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class LayerTimes:
    """Where the time of a subject goes.

    Attributes:
        subject: The subject.
        rows: One per kernel.
        unattributed_ns: Time of an inference that no kernel explains.
        peak_macs_per_s: Element type -> highest multiply-adds per second measured on the host.
        peak_bytes_per_s: Highest memory bandwidth measured on the host.
    """

    subject: str
    rows: tuple[LayerRow, ...]
    unattributed_ns: float = 0.0
    peak_macs_per_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    peak_bytes_per_s: float | None = None


@dataclasses.dataclass(frozen=True)
class TensorSqnr:
    """Signal-to-noise ratio of a tensor, or an output, beside the reference's, in dB."""

    tensor: str
    sqnr_db: float
    subject: str = ""


@dataclasses.dataclass(frozen=True)
class PlacedNode:
    """Where a node with an integer kernel runs; ``reason`` says why not in integers."""

    node: str
    op: str
    integer: bool
    kernel: str = ""
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Placement:
    """What of a subject runs in integers, and why the rest does not."""

    subject: str
    nodes: tuple[PlacedNode, ...]
    scheme: str = ""
    method: str = ""
    rules: str = ""


@dataclasses.dataclass(frozen=True)
class GateLine:
    """What became of one condition of a gate.

    Attributes:
        subject: The candidate.
        condition: What was asked, as ``"p50 +3%"``.
        outcome: ``"passed"``, ``"failed"`` or ``"undecided"``.
        text: The judgement in a line, with the interval that it rests on.
    """

    subject: str
    condition: str
    outcome: str
    text: str


@dataclasses.dataclass(frozen=True)
class BenchDocument:
    """A benchmark, as it was recorded; every section may be empty.

    Attributes:
        command: The exact command that measures this again.
        created: When, as text; empty where that is not to be told.
        bmopt: Version of bmopt that measured.
        subjects: What was measured; the first is what the others are compared with.
        measurement: Latencies in turns, variant by subject's name.
        noise_floor: The same of one subject against itself.
        scenarios: Runs of load scenarios.
        processes: Load time, first inference, memory.
        throughput: By batch size and threads.
        energy: Where the host tells it.
        accuracy: On the same samples.
        accuracy_samples: What every sample added to each metric, see
            ``bmopt.bench.side_by_side.SideBySide.to_dict``; None where nothing was scored.
        layers: Where the time goes.
        layer_sqnr: Where the error comes from.
        placement: What runs in integers.
        pruning: What was tried where channels were cut.
        gate: What became of the conditions that were set.
        environment: Facts of the host; those of the measurement where empty.
        warnings: What makes a result untrustworthy, with advice.
    """

    command: str = ""
    created: str = ""
    bmopt: str = ""
    subjects: tuple[Subject, ...] = ()
    measurement: Measurement | None = None
    noise_floor: Measurement | None = None
    scenarios: tuple[ScenarioRun, ...] = ()
    processes: tuple[ProcessCost, ...] = ()
    throughput: tuple[Throughput, ...] = ()
    energy: tuple[Energy, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    accuracy_samples: Any = None
    layers: tuple[LayerTimes, ...] = ()
    layer_sqnr: tuple[TensorSqnr, ...] = ()
    placement: tuple[Placement, ...] = ()
    pruning: tuple[PruneTrials, ...] = ()
    gate: tuple[GateLine, ...] = ()
    environment: Mapping[str, Fact] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value that ``from_dict`` reads."""
        plain = dataclasses.replace(self, measurement=None, noise_floor=None, scenarios=())
        measured = {name: getattr(self, name) for name in _MEASUREMENTS}
        return {
            KEY: VERSION,
            **to_value(plain),
            "scenarios": [run.to_dict() for run in self.scenarios],
            **{name: None if one is None else one.to_dict() for name, one in measured.items()},
        }

    def to_json(self) -> str:
        """Return the document as one line of JSON; ``from_json`` gives an equal one back."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "benchmark") -> BenchDocument:  # noqa: ANN401 - any JSON value
        """Read ``to_dict``'s value; sections that are left out are empty.

        Raises:
            ArtifactError: It is no benchmark, or one of another version.
        """
        if not isinstance(document, Mapping) or KEY not in document:
            raise ArtifactError(f"{source}: is no benchmark of bmopt; measure with bmopt bench")
        if document[KEY] != VERSION:
            raise ArtifactError(
                f"{source}: benchmark version {document[KEY]!r}, this bmopt reads {VERSION}; "
                "measure again"
            )
        rest = {key: item for key, item in document.items() if key not in _OWN_FORMATS}
        latency, noise = (_measurement(document.get(n), source, n) for n in _MEASUREMENTS)
        try:
            plain = from_value(cls, rest, "benchmark")
        except ValueError as error:
            raise ArtifactError(f"{source}: {error}; measure again") from error
        return dataclasses.replace(
            plain,
            measurement=latency,
            noise_floor=noise,
            scenarios=_scenarios(document.get("scenarios", []), source),
        )

    @classmethod
    def from_json(cls, text: str, *, source: str = "benchmark") -> BenchDocument:
        """Parse ``to_json``'s text; errors as in ``from_dict``."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{source}: is not JSON ({error}); measure again") from error
        return cls.from_dict(document, source=source)


def _measurement(value: Any, source: str, name: str) -> Measurement | None:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    return Measurement.from_dict(value, source=f"{source}, {name}")


def _scenarios(value: Any, source: str) -> tuple[ScenarioRun, ...]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, list):
        raise ArtifactError(f"{source}: benchmark.scenarios is no list; measure again")
    return tuple(
        ScenarioRun.from_dict(one, source=f"{source}, scenarios[{index}]")
        for index, one in enumerate(value)
    )
