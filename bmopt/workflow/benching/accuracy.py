"""Accuracy of all subjects on the same samples."""

from __future__ import annotations

from bmopt.bench.scoring import compare_models
from bmopt.bench.side_by_side import Comparison, SideBySide
from bmopt.core.bench_document import Accuracy, TensorSqnr
from bmopt.core.runner import Runner
from bmopt.errors import BmoptError
from bmopt.workflow.benching.session import Session
from bmopt.workflow.benching.workers import RemoteRunner


def measure_accuracy(session: Session) -> None:
    """Run the samples through every subject and score them; errors become problems."""
    session.progress.step("accuracy")
    runners: dict[str, Runner] = {w.name: RemoteRunner(w) for w in session.workers}
    options = session.options
    try:
        found = compare_models(
            runners, session.samples, options.batch_size, options.parsed_metrics()
        )
    except BmoptError as error:
        _failed(session, error)
        return
    for name, failure in found.failures.items():
        session.fail(name, failure)
    _put(session, found)


def _failed(session: Session, error: BmoptError) -> None:
    """Leave out a reference that died, and measure the others; else tell what went wrong."""
    reference = session.reference
    if not reference.is_dead:
        session.problems.append(f"accuracy was not measured: {error}")
        return
    session.fail(reference.name, error)
    if session.workers:
        measure_accuracy(session)


def _put(session: Session, found: SideBySide) -> None:
    compared = {
        name: found.comparisons(name, seed=session.options.seed) for name in found.likeness
    }
    session.comparisons.update(compared)
    rows = [_row(name, one) for name, each in compared.items() for one in each]
    if not compared:
        rows = [_alone(found, place) for place in range(len(found.scored))]
    noise = [
        TensorSqnr(output, decibels, name)
        for name, likeness in found.likeness.items()
        for output, decibels in likeness.sqnr_db.items()
    ]
    session.put(
        accuracy=tuple(rows),
        accuracy_samples=found.to_dict(),
        layer_sqnr=(*session.document.layer_sqnr, *noise),
    )


def _row(name: str, one: Comparison) -> Accuracy:
    return Accuracy(
        subject=name,
        metric=one.metric,
        candidate=one.candidate,
        reference=None if one.is_relative else one.reference,
        difference=None if one.difference is None or one.is_relative else one.difference.change,
        p_value=None if one.test is None else one.test.mid_p,
        samples=one.samples,
        fraction=one.is_fraction,
        higher_is_better=one.higher_is_better,
        note=one.note,
    )


def _alone(found: SideBySide, place: int) -> Accuracy:
    """Return a metric of the only subject there is."""
    scored = found.scored[place]
    return Accuracy(
        subject=found.reference,
        metric=scored.metric.name,
        candidate=scored.values[found.reference],
        samples=found.samples,
        fraction=scored.metric.is_fraction,
        higher_is_better=scored.metric.higher_is_better,
    )
