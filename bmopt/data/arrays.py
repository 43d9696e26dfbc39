"""Samples in .npz and .npy files."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from bmopt.core import digest
from bmopt.core.dataset import Batch, InputSpec
from bmopt.core.runner import Array
from bmopt.data.columns import Column, FeedPlan, grouped, plan_feeds
from bmopt.data.fit import fit
from bmopt.data.pixels import convert
from bmopt.data.preprocess import Preprocess
from bmopt.data.stored import StoredArray, stored_arrays
from bmopt.errors import DataError

_LABELS = "labels"


@dataclasses.dataclass(frozen=True)
class ArrayDataset:
    """Samples in the arrays of one file; see ``bmopt.data.columns`` for how they are cut.

    Where the model fixes its batch size, a last batch that is not full repeats its last sample;
    ``Batch.size`` and the labels count the real ones only.
    """

    name: str
    path: Path
    plan: FeedPlan
    options: Preprocess
    labels: Array | None
    limit: int | None

    @property
    def size(self) -> int:
        """How many samples there are."""
        return self._rows * self._row_size

    @property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""
        return self.labels is not None

    @cached_property
    def content(self) -> str:
        """Digest of the stored arrays in use, whatever is done to them."""
        keys = {column.spec.name: column.stored.key for column in self.plan.columns}
        return digest.of_json([digest.of_file(self.path), keys])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file, the preprocessing and the limit."""
        options = self.options.to_dict()
        return digest.of_json([self.content, options, self.limit, self.has_labels])

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches in the file's order."""
        step = grouped(self.plan, batch_size)
        constants = {
            c.spec.name: self._feed(c, c.stored.read(), 0)
            for c in self.plan.columns
            if c.role == "constant"
        }
        with contextlib.ExitStack() as stack:
            sliced = [c for c in self.plan.columns if c.role != "constant"]
            streams = [
                (c, stack.enter_context(contextlib.closing(c.stored.blocks(step, self._rows))))
                for c in sliced
            ]
            for start in range(0, self._rows, step):
                feeds = {c.spec.name: self._feed(c, next(s), start) for c, s in streams}
                yield self._batch({**constants, **feeds}, start, min(step, self._rows - start))

    @property
    def _row_size(self) -> int:
        return self.plan.feed_size if self.labels is None else self.labels.shape[1]

    @property
    def _rows(self) -> int:
        if self.limit is None:
            return self.plan.rows
        return min(self.plan.rows, -(-self.limit // self._row_size))

    def _batch(self, feeds: Mapping[str, Array], start: int, rows: int) -> Batch:
        labels = None if self.labels is None else self.labels[start : start + rows].reshape(-1)
        ordered = {column.spec.name: feeds[column.spec.name] for column in self.plan.columns}
        return Batch(ordered, rows * self._row_size, labels)

    def _feed(self, column: Column, block: Array, start: int) -> Array:
        end = start + max(1, len(block) if block.ndim else 1) - 1
        where = f"{column.stored.where}, rows {start}..{end}"
        if column.role == "feeds":
            block = block[0]
        elif column.role == "samples" and self.plan.group and len(block) < self.plan.group:
            missing = self.plan.group - len(block)
            block = np.concatenate([block, np.repeat(block[-1:], missing, axis=0)])
        if column.converts:
            block = convert(block, self.options, column.spec, where)
        images = column.converts and self.options.touches_pixels
        return fit(block, column.spec, where, finite=images)


def open_arrays(
    path: Path,
    inputs: Sequence[InputSpec],
    options: Preprocess,
    *,
    name: str,
    limit: int | None,
) -> ArrayDataset:
    """Open an .npz or .npy file of samples for a model with ``inputs``.

    Reads the headers, the labels and the first feed; the rest is read when it is needed.

    Raises:
        DataError: The file is missing or damaged, lacks an input, or does not fit the model.
    """
    arrays = stored_arrays(path)
    if not arrays:
        raise DataError(f"{path}: holds no arrays")
    label_array = _label_array(arrays, options, path)
    samples = {key: array for key, array in arrays.items() if array is not label_array}
    plan = plan_feeds(inputs, _by_input(samples, inputs, options, path), options)
    labels = None if label_array is None else _read_labels(label_array, plan)
    dataset = ArrayDataset(name, path, plan, options, labels, limit)
    for _ in dataset.batches(1):
        break
    return dataset


def _label_array(
    arrays: Mapping[str, StoredArray], options: Preprocess, path: Path
) -> StoredArray | None:
    key = options.y or _LABELS
    if options.y is not None and key not in arrays:
        raise DataError(f"{path}: has no array {key!r} for the labels; it has {_names(arrays)}")
    return arrays.get(key)


def _by_input(
    arrays: Mapping[str, StoredArray],
    inputs: Sequence[InputSpec],
    options: Preprocess,
    path: Path,
) -> dict[str, StoredArray]:
    keys = _asked_keys(inputs, options)
    if len(inputs) == 1 and len(arrays) == 1 and not keys:
        return {inputs[0].name: next(iter(arrays.values()))}
    wanted = {spec.name: keys.get(spec.name, spec.name) for spec in inputs}
    missing = [key for key in wanted.values() if key not in arrays]
    if missing:
        raise DataError(
            f"{path}: has no array {missing[0]!r}; it has {_names(arrays)}, and the model wants "
            f"{', '.join(wanted)}; map them with x=KEY or x=INPUT:KEY,INPUT:KEY"
        )
    return {name: arrays[key] for name, key in wanted.items()}


def _asked_keys(inputs: Sequence[InputSpec], options: Preprocess) -> dict[str, str]:
    if options.x is None:
        return {}
    names = {spec.name for spec in inputs}
    # Input names may hold colons themselves, so the key is what follows the last one.
    pairs = [part.rpartition(":") for part in options.x.split(",")]
    if all(name in names for name, _, _ in pairs):
        return {name: key for name, _, key in pairs}
    if len(inputs) == 1:
        return {inputs[0].name: options.x}
    raise DataError(f"x={options.x}: the model has inputs {', '.join(sorted(names))}; name them")


def _read_labels(stored: StoredArray, plan: FeedPlan) -> Array:
    if stored.dtype.kind not in "iu" or not stored.shape:
        raise DataError(f"{stored.where}: labels must be a list of class indices (integers)")
    labels = stored.read().astype(np.int64)
    columns = labels.size // max(1, len(labels))
    allowed = {1, plan.feed_size}
    if len(labels) != plan.rows or columns not in allowed:
        raise DataError(
            f"{stored.where}: has {labels.size} labels of shape {list(labels.shape)} for "
            f"{plan.rows * plan.feed_size} samples"
        )
    return labels.reshape(plan.rows, columns)


def _names(arrays: Mapping[str, StoredArray]) -> str:
    return ", ".join(sorted(arrays)) or "none"
