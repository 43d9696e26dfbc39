"""A data set of arrays in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from bmopt.core.dataset import Batch
from bmopt.core.runner import Array


@dataclasses.dataclass(frozen=True)
class MemoryDataset:
    arrays: Mapping[str, Array]
    name: str = "memory"
    fingerprint: str = "f" * 64
    has_labels: bool = False

    @property
    def size(self) -> int:
        return min(len(array) for array in self.arrays.values())

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.size, batch_size):
            feeds = {
                name: array[start : start + batch_size] for name, array in self.arrays.items()
            }
            yield Batch(feeds, len(next(iter(feeds.values()))))
