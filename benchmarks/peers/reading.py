"""One ``bmopt bench`` over all that was made of a model, and what its document says."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bmopt.bench.statistics import latency, ratio
from bmopt.core.bench_document import Accuracy, BenchDocument, Subject
from bmopt.errors import ArtifactError
from peers.making import LIMIT_S, Made, Task
from peers.processes import last_line, output_of, run_measured
from peers.results import Ratio, Row

_AGREEMENT = "agreement"
_NOISE = "SQNR dB"
_SAYS = "bmopt: error: "


class BenchError(Exception):
    """``bmopt bench`` wrote no document; the message is its last line."""


def bench(task: Task, subjects: Sequence[str], val_limit: int, seconds: float) -> BenchDocument:
    """Measure all in turns, one thread, the model itself first.

    Args:
        task: The model.
        subjects: What was made of it.
        val_limit: Validation samples to use at most; 0 for all.
        seconds: Per subject; an interval that is narrow ends it earlier.

    Raises:
        BenchError: There is no document.
    """
    total_s = seconds * (1 + len(subjects))
    argv = [sys.executable, "-m", "bmopt", "bench", str(task.model.path), *subjects]
    argv += ["--data", task.model.val, "--limit", str(val_limit), "--threads", "1"]
    argv += ["--duration", str(total_s), "--only", "latency,accuracy", "--json"]
    log = bench_log(task)
    run_measured(argv, log, LIMIT_S + total_s)
    try:
        return BenchDocument.from_json(output_of(log).read_text(encoding="utf-8"))
    except ArtifactError as error:
        raise BenchError(task.told(last_line(log))) from error


def bench_log(task: Task) -> Path:
    """Return where the errors of ``bmopt bench`` go."""
    return task.folder / "bench.log"


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads rows off a document.

    Attributes:
        task: The model.
        document: What ``bmopt bench`` wrote.
        ours: bmopt's artifact as it was given; empty where there is none.
    """

    task: Task
    document: BenchDocument
    ours: str = ""

    @property
    def metric(self) -> Accuracy | None:
        """The first metric of accuracy that needs labels."""
        return next((a for a in self.document.accuracy if a.metric != _AGREEMENT), None)

    @property
    def metric_name(self) -> str:
        """What values are of: that metric, or else the noise of the output that has the most."""
        if self.metric is not None:
            return self.metric.metric
        return _NOISE if self.document.layer_sqnr else ""

    @property
    def samples(self) -> int:
        """How many samples accuracy was measured on."""
        return max((a.samples for a in self.document.accuracy), default=0)

    @property
    def engines(self) -> dict[str, str]:
        """Package -> version of what ran the subjects."""
        return {n: v for one in self.document.subjects for n, v in one.versions.items()}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What ``bmopt bench`` distrusts, and what it could not measure of any subject."""
        log = bench_log(self.task).read_text(encoding="utf-8", errors="replace")
        known = {subject.error for subject in self.document.subjects}
        said = [line.removeprefix(_SAYS) for line in log.splitlines() if line.startswith(_SAYS)]
        problems = [line for line in said if line not in known]
        return tuple(map(self.task.told, (*self.document.warnings, *problems)))

    def reference(self) -> Row:
        """Return the FP32 model's row."""
        subject = self.document.subjects[0]
        metric = self.metric
        return Row(
            name="fp32",
            title="FP32",
            engine=subject.engine,
            note=self._note(subject),
            value=None if metric is None else metric.reference,
            median_ns=self.median_ns(subject.spec),
            size_bytes=subject.size_bytes,
        )

    def filled(self, row: Row, made: Made) -> Row:
        """Return a tool's row with what was measured of the model it made."""
        row = dataclasses.replace(
            row,
            note=made.note,
            detail=made.detail,
            seconds=made.seconds,
            peak_bytes=made.peak_bytes,
        )
        subject = self._subject(made.subject)
        if subject is None:
            return row
        found = self._accuracy(subject.name)
        metric = found.get(self.metric.metric) if self.metric else None
        agreement = found.get(_AGREEMENT)
        return dataclasses.replace(
            row,
            engine=subject.engine,
            note=self._note(subject),
            value=self._noise(subject.name) if metric is None else metric.candidate,
            difference=None if metric is None else metric.difference,
            agreement=None if agreement is None else agreement.candidate,
            to_fp32=self.ratio(self.document.subjects[0].spec, made.subject),
            ours_to_it=self.ratio(made.subject, self.ours),
            median_ns=self.median_ns(made.subject),
            size_bytes=subject.size_bytes,
        )

    def ratio(self, reference: str, candidate: str) -> Ratio | None:
        """Return candidate's latency over the reference's, None where one was not timed."""
        measurement, names = self.document.measurement, (reference, candidate)
        known = [self._timed(name) for name in names]
        if measurement is None or not all(known) or reference == candidate:
            return None
        found = ratio(measurement, str(known[0]), str(known[1]))
        return Ratio(found.ratio, found.low, found.high, found.verdict)

    def median_ns(self, spec: str) -> float | None:
        """Return the median latency of what was given as ``spec``."""
        name = self._timed(spec)
        if self.document.measurement is None or name is None:
            return None
        return latency(self.document.measurement, name).median_ns

    def _noise(self, name: str) -> float | None:
        if self.metric is not None:
            return None
        found = [one.sqnr_db for one in self.document.layer_sqnr if one.subject == name]
        return min(found, default=None)

    def _note(self, subject: Subject) -> str:
        return f"failed: {self.task.told(subject.error)}" if subject.error else ""

    def _timed(self, spec: str) -> str | None:
        subject = self._subject(spec)
        measurement = self.document.measurement
        is_there = measurement and subject and subject.name in measurement.variants
        return subject.name if subject and is_there else None

    def _subject(self, spec: str) -> Subject | None:
        found: Iterator[Subject] = (s for s in self.document.subjects if spec and s.spec == spec)
        return next(found, None)

    def _accuracy(self, name: str) -> Mapping[str, Accuracy]:
        return {a.metric: a for a in self.document.accuracy if a.subject == name}
