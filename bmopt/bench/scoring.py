"""Run several models over the same batches and score them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bmopt.bench.likeness import LikenessMeter
from bmopt.bench.metric import Metric
from bmopt.bench.sheet import Sheet, require_labels, require_names, require_outputs, run_batch
from bmopt.bench.side_by_side import SideBySide
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Runner
from bmopt.errors import BmoptError, DataError


def compare_models(
    runners: Mapping[str, Runner],
    dataset: Dataset,
    batch_size: int,
    metrics: Sequence[Metric] | None = None,
    *,
    output: str | None = None,
) -> SideBySide:
    """Run every model on every batch; samples are streamed, only their rows are kept.

    A candidate that raises a ``BmoptError`` is left out from there on, and told in ``failures``.

    Args:
        runners: Name -> opened model; the first is the reference, whose outputs all must have.
        dataset: The samples.
        batch_size: Samples per inference.
        metrics: None is top-1, and top-5 with more than five classes, where there are labels
            and class scores.
        output: The output with class scores; the first that looks like it if not given.

    Raises:
        DataError: No samples, no labels for a metric that needs them, or labels or feeds that
            do not fit the reference.
        UsageError: A metric is given twice, or does not fit the reference's outputs; ``output``
            is no output with class scores.
    """
    reference, *candidates = runners
    require_names(metrics or ())
    require_labels(metrics or (), dataset)
    sheet = Sheet(metrics, output)
    meters = {name: LikenessMeter() for name in candidates}
    failures: dict[str, BmoptError] = {}
    for batch in dataset.batches(batch_size):
        expected = run_batch(runners[reference], batch)
        sheet.turn(batch, expected)
        sheet.score(reference, expected)
        for name in [name for name in candidates if name not in failures]:
            error = _attempt(name, runners[name], batch, expected, sheet, meters[name])
            if error is not None:
                failures[name] = error
    if sheet.samples == 0:
        raise DataError(f"{dataset.name}: has no samples; give at least one")
    finished = [name for name in candidates if name not in failures]
    return SideBySide(
        reference=reference,
        samples=sheet.samples,
        output=sheet.output,
        scored=sheet.scored([reference, *finished]),
        likeness={name: meters[name].likeness() for name in finished},
        failures=failures,
    )


def _attempt(
    name: str,
    runner: Runner,
    batch: Batch,
    expected: Mapping[str, Array],
    sheet: Sheet,
    meter: LikenessMeter,
) -> BmoptError | None:
    """Score a candidate on a batch; return what ended its run."""
    try:
        actual = run_batch(runner, batch)
        require_outputs(expected, actual)
        sheet.score(name, actual)
        meter.add(expected, actual, batch.size, sheet.output)
    except BmoptError as error:
        return error
    return None
