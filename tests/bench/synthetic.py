"""Runners and data sets made of arrays, for the accuracy tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import TracebackType

import numpy as np

from bmopt.core.dataset import Batch
from bmopt.core.runner import Array, Feeds, Runner


class Function:
    """Runs a function of the input ``x``."""

    def __init__(self, function: Callable[[Array], Mapping[str, Array]], *names: str) -> None:
        self._function = function
        self._names = names or ("scores",)
        self.largest_batch = 0

    @property
    def output_names(self) -> tuple[str, ...]:
        return self._names

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.largest_batch = max(self.largest_batch, len(feeds["x"]))
        return dict(self._function(feeds["x"]))

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Arrays:
    """Rows of an array as samples; ``pad`` repeats the last row up to a full batch."""

    name = "arrays"
    fingerprint = "0" * 64

    def __init__(self, x: Array, labels: Array | None = None, *, pad: bool = False) -> None:
        self._x = x
        self._labels = labels
        self._pad = pad

    @property
    def size(self) -> int:
        return len(self._x)

    @property
    def has_labels(self) -> bool:
        return self._labels is not None

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for begin in range(0, self.size, batch_size):
            rows = self._x[begin : begin + batch_size]
            labels = None if self._labels is None else self._labels[begin : begin + batch_size]
            size = len(rows)
            if self._pad:
                rows = np.concatenate([rows, np.repeat(rows[-1:], batch_size - size, axis=0)])
            yield Batch({"x": rows}, size, labels)
