"""``ort-int8`` as it comes beside the peers, timed as their own comparison does, and the means."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence

from peers.catalogue import Peer
from peers.making import Made, Task, artifact
from peers.reading import BenchError, Reader, bench
from peers.results import ModelResult, Row

from accuracy.goals import OURS

LEAST_AGREEMENT = 0.8
"""A model that agrees with FP32 on less than this share of the samples is none."""


def latency(
    task: Task, made: Mapping[str, Made], peers: Sequence[Peer], val_limit: int, seconds: float
) -> ModelResult:
    """Compile with bmopt's defaults, and measure that beside what the peers made.

    Args:
        task: The model.
        made: Peer -> what it made.
        peers: The peers.
        val_limit: Validation samples at most; 0 for all.
        seconds: Of timing per row.
    """
    shutil.rmtree(task.folder / "cache", ignore_errors=True)
    all_made = {OURS: artifact(task), **made}
    subjects = [one.subject for one in all_made.values() if one.subject]
    try:
        document = bench(task, subjects, val_limit, seconds)
    except BenchError as error:
        return ModelResult(task.model.name, note=f"failed: bmopt bench: {error}")
    reader = Reader(task, document, all_made[OURS].subject)
    theirs = [Row(p.name, p.title, is_for_tensorrt=p.is_for_tensorrt) for p in peers]
    return ModelResult(
        name=task.model.name,
        metric=reader.metric_name,
        fraction=reader.metric is not None and reader.metric.fraction,
        calibrated=task.count,
        samples=reader.samples,
        fp32=reader.reference(),
        rows=tuple(reader.filled(row, all_made[row.name]) for row in (Row(OURS, OURS), *theirs)),
        warnings=reader.warnings,
    )


def is_usable(row: Row) -> bool:
    """Whether a row has a latency, of a model that is one."""
    agrees = row.agreement is None or row.agreement >= LEAST_AGREEMENT
    return row.to_fp32 is not None and agrees


def ours_over(ours: Row, its: Row) -> float:
    """Return bmopt's latency over a peer's; where one of the two is no model, FP32 counts."""
    if is_usable(ours) and is_usable(its) and its.ours_to_it is not None:
        return its.ours_to_it.ratio
    return _over_fp32(ours) / _over_fp32(its)


def _over_fp32(row: Row) -> float:
    return row.to_fp32.ratio if row.to_fp32 is not None and is_usable(row) else 1.0


def rows_by_peer(models: Sequence[ModelResult]) -> Iterator[tuple[str, list[tuple[Row, Row]]]]:
    """Yield every peer's name, with bmopt's row and its own of every model that was measured."""
    names = list(dict.fromkeys(row.name for model in models for row in model.rows))
    for name in names:
        pairs = [
            (_row(model, OURS), _row(model, name))
            for model in models
            if any(row.name == name for row in model.rows)
        ]
        if name != OURS:
            yield name, pairs


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean of ratios above 0."""
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def mean_ours_over_fp32(models: Sequence[ModelResult]) -> float:
    """Return the geometric mean of bmopt's latency over FP32's."""
    return geometric_mean([_over_fp32(_row(model, OURS)) for model in models])


def _row(model: ModelResult, name: str) -> Row:
    return next(row for row in model.rows if row.name == name)
