"""Decide how stored arrays become feeds: which axis counts samples, and how many make one feed.

1. An array with its input's rank holds samples along axis 0; batches slice it.
2. An array with one more axis holds whole feeds; each is one inference.
3. A scalar, and an array that has just the size of its input where others hold more, is a
   constant that goes into every feed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from bmopt.core.dataset import InputSpec
from bmopt.data.fit import is_float, numpy_dtype, require_castable, shape_fits, shape_text
from bmopt.data.preprocess import Preprocess
from bmopt.data.stored import StoredArray
from bmopt.errors import DataError

Role = Literal["samples", "feeds", "constant"]


@dataclasses.dataclass(frozen=True)
class Column:
    """The array of one input.

    Attributes:
        spec: The input.
        stored: Its array in the file.
        role: What axis 0 of the array counts.
        converts: Whether the preprocessing applies to it.
    """

    spec: InputSpec
    stored: StoredArray
    role: Role
    converts: bool


@dataclasses.dataclass(frozen=True)
class FeedPlan:
    """How columns make feeds.

    Attributes:
        columns: One per input.
        rows: Steps along axis 0 there are: samples, or feeds where ``by_feed``.
        group: Samples in every feed where the model fixes it; ``None`` lets the caller choose.
        by_feed: Whether a row is a whole feed.
    """

    columns: tuple[Column, ...]
    rows: int
    group: int | None
    by_feed: bool

    @property
    def feed_size(self) -> int:
        """How many samples one row holds: where every array agrees on a leading length, that."""
        if not self.by_feed:
            return 1
        skip = {"samples": 0, "feeds": 1, "constant": 0}
        shapes = (column.stored.shape[skip[column.role] :] for column in self.columns)
        lengths = {shape[0] for shape in shapes if shape}
        return lengths.pop() if len(lengths) == 1 else 1


def plan_feeds(
    inputs: Sequence[InputSpec], arrays: Mapping[str, StoredArray], options: Preprocess
) -> FeedPlan:
    """Return how ``arrays`` (by input name) make feeds for ``inputs``.

    Raises:
        DataError: An array does not fit its input, or they disagree on the number of samples.
    """
    columns = tuple(_column(spec, arrays[spec.name], options, len(inputs)) for spec in inputs)
    if any(column.role == "feeds" for column in columns):
        return _plan_whole_feeds(columns)
    counts = {column.stored.shape[0] for column in columns if column.role == "samples"}
    if len(counts) > 1:
        columns = tuple(_constant_if_alone(column) for column in columns)
    return _plan_samples(columns)


def _column(spec: InputSpec, stored: StoredArray, options: Preprocess, inputs: int) -> Column:
    pixels = stored.dtype == np.uint8 and len(stored.shape) >= 3
    converts = inputs == 1 or pixels
    if not (converts and options.dtype):
        require_castable(stored.dtype, spec, stored.where)
    if pixels and is_float(numpy_dtype(spec.dtype)) and not options.touches_pixels:
        raise DataError(
            f"{stored.where}: holds uint8 pixels, but input {spec.name!r} wants {spec.dtype}; "
            "say how they become floats: scale=1/255 (scale=1 for raw 0..255), mean=, std="
        )
    if 0 in stored.shape:
        raise DataError(f"{stored.where}: is empty, {shape_text(stored.shape)}")
    converts = converts and (options.touches_pixels or options.dtype is not None)
    return Column(spec, stored, _role(spec, stored, converts=converts), converts)


def _role(spec: InputSpec, stored: StoredArray, *, converts: bool) -> Role:
    shape = stored.shape
    rank = len(shape) if spec.shape is None else len(spec.shape)
    if converts and {rank, len(shape)} == {3, 4} and (rank == 4 or shape[3] in (1, 3)):
        return "samples"
    if len(shape) == rank + 1:
        inner, declared, role = shape[1:], spec.shape, "feeds"
    elif spec.shape is None:
        inner, declared, role = shape[1:], None, "samples"
    else:
        inner, declared, role = shape[1:], spec.shape[1:], "samples"
    if len(shape) not in (rank, rank + 1) or not (converts or shape_fits(inner, declared)):
        raise DataError(
            f"{stored.where}: is {shape_text(shape)}, but input {spec.name!r} wants "
            f"{shape_text(spec.shape or ())}{_hint(spec, shape)}"
        )
    if rank == 0 and not shape:
        return "constant"
    return "feeds" if role == "feeds" else "samples"


def _hint(spec: InputSpec, shape: tuple[int, ...]) -> str:
    declared = spec.shape or ()
    if len(shape) == len(declared) == 4 and shape_fits((shape[3], *shape[1:3]), declared[1:]):
        return "; if its channels come last, say layout=NCHW"
    return " (axis 0 counts the samples)" if declared else ""


def _plan_whole_feeds(columns: tuple[Column, ...]) -> FeedPlan:
    counts = {c.spec.name: c.stored.shape[0] for c in columns if c.role == "feeds"}
    if len(set(counts.values())) != 1:
        raise _disagreement(columns)
    for column in columns:
        if column.role == "samples":
            _require_constant(column)
    constant = tuple(
        dataclasses.replace(column, role="constant") if column.role == "samples" else column
        for column in columns
    )
    return FeedPlan(constant, next(iter(counts.values())), None, by_feed=True)


def _require_constant(column: Column) -> None:
    if not shape_fits(column.stored.shape, column.spec.shape):
        raise DataError(
            f"{column.stored.where}: is {shape_text(column.stored.shape)}; beside arrays of "
            f"whole feeds it must be a whole feed of input {column.spec.name!r} too"
        )


def _constant_if_alone(column: Column) -> Column:
    """Make a column a constant if it holds exactly what a fixed leading axis asks for."""
    declared = column.spec.shape
    fixed = declared and isinstance(declared[0], int) and column.stored.shape[0] == declared[0]
    return dataclasses.replace(column, role="constant") if fixed else column


def _plan_samples(columns: tuple[Column, ...]) -> FeedPlan:
    sliced = [column for column in columns if column.role == "samples"]
    if not sliced:
        return FeedPlan(columns, 1, None, by_feed=True)
    rows = {column.stored.shape[0] for column in sliced}
    leading = [column.spec.shape[0] if column.spec.shape else None for column in sliced]
    fixed = {length for length in leading if isinstance(length, int)}
    if len(rows) != 1 or len(fixed) > 1:
        raise _disagreement(columns)
    tied = any(column.role == "constant" and column.stored.shape for column in columns)
    # A constant with axes of its own was made for one inference, so samples go in one at a time.
    group = fixed.pop() if fixed else (1 if tied else None)
    return FeedPlan(columns, rows.pop(), group, by_feed=False)


def _disagreement(columns: Sequence[Column]) -> DataError:
    shapes = ", ".join(f"{c.spec.name} {shape_text(c.stored.shape)}" for c in columns)
    return DataError(
        f"{columns[0].stored.path}: the arrays disagree on the number of samples ({shapes}); "
        "give each one more leading axis to store whole feeds"
    )


def grouped(plan: FeedPlan, batch_size: int) -> int:
    """Return how many rows make a feed when the caller wishes for ``batch_size`` samples."""
    if plan.by_feed:
        return 1
    return plan.group or max(1, batch_size)
