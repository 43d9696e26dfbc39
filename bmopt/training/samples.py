"""Training samples in an order of their own: in memory, or on disk where they are many."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array
from bmopt.errors import DataError

_READ = 256
_MEMORY_BYTES = 2 << 30

Indices = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Picked:
    """Some samples.

    Attributes:
        feeds: Input name -> array, samples along the first axis.
        labels: ``int64 [samples]``, None where there are none.
    """

    feeds: Mapping[str, Array]
    labels: Array | None


class Samples:
    """All samples of a data set, read once, to be picked in any order.

    Up to 2 GiB stay in memory; more of them are written to a temporary file, which ``close``
    removes.

    Raises:
        DataError: There are none, or an input has no sample axis.
    """

    def __init__(self, dataset: Dataset, *, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._name = dataset.name
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._arrays: dict[str, Array] = {}
        self._memory_bytes = memory_bytes
        labels: list[Array] = []
        self.size = 0
        for batch in dataset.batches(_READ):
            self._take(batch, dataset.size)
            if batch.labels is not None:
                labels.append(batch.labels[: batch.size])
            self.size += batch.size
        if not self.size:
            raise DataError(f"{dataset.name}: has no samples; training needs some")
        self.labels: Array | None = np.concatenate(labels) if labels else None
        if self.labels is not None and len(self.labels) != self.size:
            raise DataError(f"{dataset.name}: has labels for some samples only")

    def pick(self, which: Indices) -> Picked:
        """Return the samples of these numbers."""
        feeds = {name: array[which] for name, array in self._arrays.items()}
        return Picked(feeds, None if self.labels is None else self.labels[which])

    def batches(self, which: Indices, size: int) -> Iterator[Picked]:
        """Yield the samples of these numbers in order, ``size`` at a time."""
        for start in range(0, len(which), size):
            yield self.pick(which[start : start + size])

    def close(self) -> None:
        """Forget the samples."""
        self._arrays = {}
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Samples:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self, batch: Batch, count: int) -> None:
        if not self._arrays:
            self._arrays = self._rooms(batch, count)
        for name, room in self._arrays.items():
            array = batch.feeds[name]
            if array.shape[1:] != room.shape[1:]:
                raise DataError(
                    f"{self._name}: {name!r} has samples of different shapes; training needs one"
                )
            room[self.size : self.size + batch.size] = array[: batch.size]

    def _rooms(self, batch: Batch, count: int) -> dict[str, Array]:
        shapes: dict[str, tuple[int, ...]] = {}
        for name, array in batch.feeds.items():
            if not array.ndim or len(array) < batch.size:
                raise DataError(
                    f"{self._name}: input {name!r} has no sample axis; such models are not trained"
                )
            shapes[name] = (count, *array.shape[1:])
        rows = sum(array[:1].nbytes for array in batch.feeds.values())
        if rows * count <= self._memory_bytes:
            return {n: np.empty(s, batch.feeds[n].dtype) for n, s in shapes.items()}
        self._folder = tempfile.TemporaryDirectory(prefix="bmopt-samples-")
        return {
            name: np.memmap(
                Path(self._folder.name) / f"{number}.bin", batch.feeds[name].dtype, "w+", 0, shape
            )
            for number, (name, shape) in enumerate(shapes.items())
        }


def split(count: int, share: float, seed: int) -> tuple[Indices, Indices]:
    """Return the numbers of samples to train on, and of those that only judge, each ascending."""
    held = int(count * share)
    order = np.random.default_rng([seed, 1]).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def shuffled(which: Indices, batch: int, seed: Sequence[int]) -> list[Indices]:
    """Return the batches of an epoch: every sample once, but for a last batch that is not full."""
    order = which[np.random.default_rng(seed).permutation(len(which))]
    size = min(batch, len(which))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
