"""Samples for calibration and validation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol

from bmopt.core.runner import Array, Feeds


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: The input's name.
        dtype: NumPy name of the element type, for example ``"float32"``.
        shape: One entry per axis: an int, or the axis' symbol (``None`` where it has none) when
            it is dynamic. ``None`` instead of a tuple means that the rank itself is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Batch:
    """Feeds of one inference and the labels of its samples.

    Attributes:
        feeds: Input name -> array; arrays with a sample axis have it first.
        size: How many samples the feeds hold.
        labels: ``int64 [size]`` class indices, or ``None`` where the data set has no labels.
    """

    feeds: Feeds
    size: int
    labels: Array | None = None


class Dataset(Protocol):
    """Re-iterable samples: every call of ``batches`` yields the same ones in the same order."""

    @property
    def name(self) -> str:
        """Where the samples come from, as the user wrote it."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the samples' source and of the preprocessing applied to them."""

    @property
    def size(self) -> int:
        """How many samples there are."""

    @property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches of at most ``batch_size`` samples (exactly 1 feed where unbatchable)."""
