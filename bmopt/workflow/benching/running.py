"""``bmopt bench``: the whole of it, as a straight line."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from bmopt.bench.changes import changes
from bmopt.bench.gate import Judgement, exit_code, judge_all
from bmopt.bench.noise import floor_of
from bmopt.bench.trust import warnings_of
from bmopt.core.bench_document import BenchDocument, GateLine, Subject
from bmopt.core.latency_table import LatencyTable
from bmopt.core.measurement import Environment
from bmopt.errors import BmoptError, UsageError
from bmopt.workflow.artifact import REPORT
from bmopt.workflow.artifact_document import placement_of
from bmopt.workflow.benching.accuracy import measure_accuracy
from bmopt.workflow.benching.costs import measure_costs, measure_energy, measure_throughput
from bmopt.workflow.benching.latency import measure_latency
from bmopt.workflow.benching.latency_table import measure_latency_table
from bmopt.workflow.benching.layers import measure_layer_noise, measure_layers
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.scenarios import measure_scenarios
from bmopt.workflow.benching.session import Session
from bmopt.workflow.benching.workers import WORKER, Worker
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.shared_inputs import require_same_inputs

INTERRUPTED = 130
_BAD_INPUT = 2

_SECTIONS: Mapping[str, Callable[[Session], None]] = {
    "latency": measure_latency,
    "accuracy": measure_accuracy,
    "costs": measure_costs,
    "throughput": measure_throughput,
    "energy": measure_energy,
    "layers": measure_layers,
    "sqnr": measure_layer_noise,
}


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """What came of a benchmark.

    Attributes:
        document: Everything that was measured.
        failures: Subject -> what ended it.
        problems: What could not be measured though no subject is at fault.
        judgements: Candidate -> what became of the gate's conditions.
        interrupted: Whether Ctrl-C ended it early.
        latency_table: What the parts of the model take, None where that was not asked for or
            could not be measured.
    """

    document: BenchDocument
    failures: Mapping[str, str]
    problems: tuple[str, ...]
    judgements: Mapping[str, tuple[Judgement, ...]]
    interrupted: bool = False
    latency_table: LatencyTable | None = None

    @property
    def exit_code(self) -> int:
        """130 interrupted, 2 something failed, 1 a gate failed, 4 undecided, 0 all is well."""
        if self.interrupted:
            return INTERRUPTED
        if self.failures or self.problems:
            return _BAD_INPUT
        return exit_code([one for each in self.judgements.values() for one in each])


def run_bench(
    texts: Sequence[str],
    options: BenchOptions | None = None,
    *,
    command: str = "",
    progress: Progress | None = None,
    module: str = WORKER,
) -> BenchResult:
    """Measure models and artifacts beside each other, each in a process of its own.

    A subject that fails, crashes or hangs is left out from there on and told in ``failures``;
    what was found of it, and the others, stay.

    Args:
        texts: Artifact folders, ``.onnx`` files or ``engine:file``; the first is the reference.
        options: How.
        command: The command that measures this again.
        progress: Is told what goes on.
        module: Whose ``commands`` a subject's process answers with.

    Raises:
        BoardError: The board cannot be reached.
        UsageError: No subjects, a gate without two, a latency table without just two, or a board
            that none of them can run on.
        DataError: The samples are missing or fit no subject.
    """
    chosen = options or BenchOptions()
    if not texts:
        raise UsageError("nothing to measure; give artifacts, .onnx files or engine:file")
    if chosen.latency_table and len(texts) != 2:
        raise UsageError("--latency-table needs two subjects: the float model and its artifact")
    if chosen.fail_if and len(texts) < 2:
        raise UsageError("--fail-if needs something to compare with; give --against BASELINE")
    with contextlib.ExitStack() as stack:
        session = Session(texts, chosen, progress or Quiet(), stack, command, module)
        interrupted = _run(session)
        return _result(session, interrupted=interrupted)


def _run(session: Session) -> bool:
    """Run every section; return whether Ctrl-C ended it."""
    try:
        _open(session)
        if session.workers:
            session.describe()
            for measure in _steps(session.options):
                if session.workers:
                    measure(session)
    except KeyboardInterrupt:
        if not _has_results(session.document):
            raise
        return True
    return False


def _steps(options: BenchOptions) -> list[Callable[[Session], None]]:
    """Return what is measured, in order: load scenarios behind latency, which comes first."""
    chosen = [_SECTIONS[name] for name in options.sections]
    place = 1 if "latency" in options.sections else 0
    table = [measure_latency_table] if options.latency_table else []
    return [*table, *chosen[:place], measure_scenarios, *chosen[place:]]


def _has_results(document: BenchDocument) -> bool:
    return any((document.measurement, document.scenarios, document.accuracy, document.processes))


def _open(session: Session) -> None:
    """Open all subjects and the samples, and feed everyone."""
    session.connect()
    session.progress.step("opening")
    for worker in [session.start(one.name, one.spec) for one in session.document.subjects]:
        _open_subject(session, worker)
    if not session.workers:
        return
    session.samples.open([worker.as_fed() for worker in session.workers])
    for _ in session.each(lambda worker: worker.ask("feed", feeds=session.feeds)):
        pass
    session.put(subjects=tuple(_record(session, subject) for subject in session.document.subjects))


def _open_subject(session: Session, worker: Worker) -> None:
    try:
        worker.open()
        session.keep(worker)
        require_same_inputs([session.reference.opened, worker.opened])
    except BmoptError as error:
        session.fail(worker.name, error)


def _record(session: Session, subject: Subject) -> Subject:
    """Return what is known of a subject once it is open."""
    worker = next((one for one in session.workers if one.name == subject.name), None)
    if worker is None:
        return subject
    found = worker.opened
    settings = {f"settings.{subject.name}.{key}": value for key, value in found.settings.items()}
    session.add_facts(settings)
    return dataclasses.replace(
        subject,
        kind=found.kind,
        target=found.target,
        digest=found.digest,
        size_bytes=found.size_bytes,
        engine=found.engine,
        versions=found.versions,
    )


def _result(session: Session, *, interrupted: bool) -> BenchResult:
    _put_placement(session)
    judgements = {} if interrupted else _judged(session)
    lines = [
        GateLine(name, str(one.condition), one.outcome, one.line())
        for name, each in judgements.items()
        for one in each
    ]
    session.put(gate=tuple(lines), warnings=tuple(_warnings(session, interrupted=interrupted)))
    return BenchResult(
        session.document,
        dict(session.failures),
        tuple(session.problems),
        judgements,
        interrupted,
        session.latency_table,
    )


def _put_placement(session: Session) -> None:
    """Take over what compiling an artifact found out about where its nodes run."""
    found = [
        placement
        for worker in session.workers
        if worker.opened.kind == "artifact"
        and (placement := placement_of(worker.opened.path / REPORT, worker.name)) is not None
    ]
    session.put(placement=tuple(found))


def _judged(session: Session) -> dict[str, tuple[Judgement, ...]]:
    conditions = session.options.conditions()
    if not conditions:
        return {}
    return {
        worker.name: judge_all(
            conditions,
            changes(session.document, worker.name, session.comparisons.get(worker.name, ())),
        )
        for worker in session.workers[1:]
    }


def _warnings(session: Session, *, interrupted: bool) -> list[str]:
    document = session.document
    found: list[str] = []
    if document.measurement is not None:
        environment = Environment(document.environment)
        floor = None if document.noise_floor is None else floor_of(document.noise_floor)
        far = [name for name in session.names if session.ran_on_board(name)]
        ran_here = any(name not in far for name in document.measurement.variants)
        found += warnings_of(document.measurement, environment, floor, ran_here=ran_here)
    found += [*session.problems, *session.notes]
    if interrupted:
        found.append("interrupted: what had ended by then is here, the rest is missing")
    return found
