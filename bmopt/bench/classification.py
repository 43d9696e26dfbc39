"""Reading class scores: which output holds them, and where the right class ranks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bmopt.core.dataset import Batch
from bmopt.core.runner import Array
from bmopt.errors import DataError

TOP_K = 5

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def feed_rows(batch: Batch) -> int:
    """Return how many rows the feeds hold: ``batch.size``, or more where they are padded."""
    leading = [feed.shape[0] for feed in batch.feeds.values() if feed.ndim]
    return next((rows for rows in leading if rows >= batch.size), batch.size)


def unpadded(output: Array, batch: Batch) -> Array:
    """Return the output without the rows that padding made."""
    rows = feed_rows(batch)
    padded = rows > batch.size and output.ndim > 0 and output.shape[0] == rows
    return output[: batch.size] if padded else output


def scores_of(output: Array, samples: int) -> Array | None:
    """Return class scores ``[samples, classes]``, or None where the output is something else.

    Scores are floats of shape ``[N, C]`` or ``[N, C, 1, 1]`` with two classes or more.
    """
    if output.dtype.name not in _FLOATS:
        return None
    if output.ndim == 4 and output.shape[2:] == (1, 1):
        output = output[:, :, 0, 0]
    if output.ndim != 2 or output.shape[0] != samples or output.shape[1] < 2:
        return None
    return output.astype(np.float32) if output.dtype.itemsize < 4 else output


def find_scores(outputs: Mapping[str, Array], batch: Batch) -> str | None:
    """Return the name of the first output that holds class scores."""
    for name, output in outputs.items():
        if scores_of(unpadded(output, batch), batch.size) is not None:
            return name
    return None


def ranks(scores: Array, labels: Array) -> npt.NDArray[np.int64]:
    """Return where each sample's right class ranks among its scores; 0 is the top.

    Of equal scores the class with the lower index ranks higher, as in ``argmax``. A score that
    is not a number ranks last.

    Args:
        scores: Float ``[samples, classes]``.
        labels: Integers ``[samples]``.

    Raises:
        DataError: The labels do not fit the scores.
    """
    count, classes = scores.shape
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} for {count} samples; give one a sample")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        raise DataError(
            f"label {labels[wrong][0]} for a model with {classes} classes; "
            f"labels go from 0 to {classes - 1}"
        )
    clean = np.where(np.isnan(scores), -np.inf, scores)
    columns = labels.astype(np.int64)[:, None]
    right = np.take_along_axis(clean, columns, axis=1)
    earlier = np.arange(classes) < columns
    ahead = (clean > right) | ((clean == right) & earlier)
    found = ahead.sum(axis=1)
    unknown = np.isnan(np.take_along_axis(scores, columns, axis=1))[:, 0]
    placed: npt.NDArray[np.int64] = np.where(unknown, classes, found).astype(np.int64)
    return placed
