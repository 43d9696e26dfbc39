"""A bounded, deterministic sample of activations, with the extremes of every channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bmopt.calibration.equalize_search import Fold
from bmopt.calibration.taps import tap
from bmopt.core.dataset import Dataset
from bmopt.core.ranges import ChannelRanges
from bmopt.core.runner import Array, OpenModel
from bmopt.errors import CalibrationError, DataError

MOST_ROWS = 2048
MOST_SAMPLES = 64
_GOLDEN = 0.6180339887498949
_SYNTHETIC_ROWS = 512
_SKEW = 3
_FOLDS = 4


@dataclasses.dataclass(frozen=True)
class ChannelRows:
    """What was seen of one activation.

    Attributes:
        folds: Rows, at most ``MOST_ROWS`` in all, in parts that come from different batches; the
            extremes of each are those of the other parts' batches, all values of them.
        high: float32 ``[channels]``, the largest value of each channel in all batches.
    """

    folds: tuple[Fold, ...]
    high: Array


def sample_rows(
    model: ir.Model,
    axes: Mapping[str, int],
    dataset: Dataset,
    open_model: OpenModel,
    *,
    batch_size: int,
) -> dict[str, ChannelRows]:
    """Return rows of the activations in ``axes`` (tensor -> channel axis).

    Runs at most the first ``MOST_SAMPLES`` samples, once. Of every batch the same share of rows
    is kept, evenly spread; which ones depends on nothing but their number.

    Raises:
        DataError: There are no samples.
        CalibrationError: A tensor is none of the model's, or became NaN.
    """
    samplers = {name: _Sampler(name, axis) for name, axis in axes.items()}
    tapped = tap(model, list(axes), exact=list(axes))
    total, done = min(dataset.size, MOST_SAMPLES), 0
    with open_model(tapped.model) as runner:
        for batch in dataset.batches(max(1, min(batch_size, total // _FOLDS))):
            outputs = {**batch.feeds, **runner.run(batch.feeds)}
            done += batch.size
            for name, sampler in samplers.items():
                sampler.update(outputs[name], min(done / total, 1.0))
            if done >= total:
                break
    if done == 0:
        raise DataError(f"{dataset.name}: has no samples; equalisation needs at least one")
    return {name: sampler.found() for name, sampler in samplers.items()}


def rows_of_ranges(channels: ChannelRanges) -> ChannelRows:
    """Return made-up rows with the extremes of every channel.

    Small values are more frequent than large ones, as in activations, and half of them have the
    sign that a Relu cuts. Always the same numbers.
    """
    low = np.array([entry.low for entry in channels.ranges], np.float32)
    high = np.array([entry.high for entry in channels.ranges], np.float32)
    spread = np.random.default_rng(0).uniform(-1.0, 1.0, (_SYNTHETIC_ROWS, len(low)))
    size = np.abs(spread**_SKEW).astype(np.float32)
    rows = np.where(spread < 0.0, size * low, size * high)
    return ChannelRows((Fold(rows, low, high),), high)


class _Sampler:
    """Rows and extremes of one tensor, by fold."""

    def __init__(self, name: str, axis: int) -> None:
        self._name = name
        self._axis = axis
        self._rows: list[list[Array]] = [[] for _ in range(_FOLDS)]
        self._extremes: list[tuple[Array, Array]] = []
        self._kept = 0
        self._batches = 0

    def update(self, array: Array, progress: float) -> None:
        """Take rows until as large a share of them is kept as samples are done."""
        values = np.moveaxis(np.asarray(array), self._axis, -1)
        rows = values.reshape(-1, values.shape[-1])
        self._watch(rows.min(axis=0), rows.max(axis=0))
        wanted = min(round(MOST_ROWS * progress) - self._kept, len(rows))
        if wanted > 0:
            shift = (self._batches * _GOLDEN) % 1.0
            chosen = np.floor((np.arange(wanted) + shift) * len(rows) / wanted).astype(np.int64)
            kept = rows[np.minimum(chosen, len(rows) - 1)].astype(np.float32)
            self._rows[self._batches % _FOLDS].append(kept)
            self._kept += wanted
        self._batches += 1

    def found(self) -> ChannelRows:
        """Return the folds; one batch alone has its own extremes."""
        parts = [n for n in range(len(self._extremes)) if self._rows[n]]
        folds = []
        for part in parts:
            others = [e for n, e in enumerate(self._extremes) if n != part or len(parts) == 1]
            low = np.min([low for low, _ in others], axis=0)
            high = np.max([high for _, high in others], axis=0)
            folds.append(Fold(np.concatenate(self._rows[part]), low, high))
        return ChannelRows(tuple(folds), np.max([high for _, high in self._extremes], axis=0))

    def _watch(self, low: Array, high: Array) -> None:
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise CalibrationError(
                f"tensor {self._name!r}: has NaN or infinities; check the preprocessing and the "
                "weights"
            )
        part = self._batches % _FOLDS
        if part == len(self._extremes):
            self._extremes.append((low.astype(np.float32), high.astype(np.float32)))
        else:
            old = self._extremes[part]
            self._extremes[part] = np.minimum(old[0], low), np.maximum(old[1], high)
