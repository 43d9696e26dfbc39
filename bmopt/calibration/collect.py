"""Stream samples through a tapped model and observe every activation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx_ir as ir

from bmopt.calibration.observer import DEFAULT_PERCENTILE, Observer
from bmopt.calibration.taps import Tapped, tap
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.ranges import RangeTable, TensorRange
from bmopt.core.runner import Array, Feeds, OpenModel
from bmopt.errors import CalibrationError, DataError

_TAP_BYTES = 8 << 20
"""Tapped tensors of one inference together: all of them are alive until it has ended."""


def collect_ranges(
    model: ir.Model,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    model_digest: str,
    batch_size: int,
    tensors: Collection[str] | None = None,
    channels: Mapping[str, int] | None = None,
    threads: int = 1,
    percentile: float = DEFAULT_PERCENTILE,
    progress: Callable[[int, int], None] | None = None,
) -> RangeTable:
    """Measure the ranges of a model's activations in one pass over the samples.

    Memory does not grow with the number of samples. A batch is split where its tapped tensors
    would take more than 8 MB, so only a single sample with larger ones takes more. The split
    changes no result: the moving average takes one step per batch of ``batch_size``.

    Args:
        model: Is not changed; its weights are shared, not copied.
        dataset: The calibration samples.
        open_model: Opens the tapped model. Optimisations of the engine are harmless: a tapped
            tensor is a graph output, which no fusion may remove.
        model_digest: Binds the table to the model.
        batch_size: Samples per step of the moving average; an upper bound of those per inference.
        tensors: Which tensors of the main graph to observe; all float activations where None.
        channels: Tensor -> axis for which extremes per channel are wanted too.
        threads: Threads of the observers.
        percentile: What the percentile method keeps, in per cent.
        progress: Called with the samples done and the samples in all.

    Raises:
        DataError: There are no samples, or an input has NaN.
        CalibrationError: A tensor became NaN, is not in the model, or there is nothing to observe.
    """
    axes = dict(channels or {})
    tapped = tap(model, tensors, exact=axes)
    watch = _Watch(tapped, axes, threads, percentile)
    done = 0
    with open_model(tapped.model) as runner:
        for batch in dataset.batches(batch_size):
            for feeds in watch.split(batch):
                watch.observe(feeds, runner.run(feeds), first=done)
            watch.close_group()
            done += batch.size
            if progress is not None:
                progress(done, dataset.size)
    if done == 0:
        raise DataError(f"{dataset.name}: has no samples; calibration needs at least one")
    return RangeTable(model_digest, dataset.fingerprint, done, watch.ranges())


class _Watch:
    """The observers of one run."""

    def __init__(
        self, tapped: Tapped, axes: Mapping[str, int], threads: int, percentile: float
    ) -> None:
        self._tapped = tapped
        self._axes = axes
        self._threads = threads
        self._percentile = percentile
        self._observers: dict[str, Observer] = {}
        self._dynamic = _has_dynamic_batch(tapped.model.graph)
        # The first inference has one sample and tells how much the tapped tensors of one take.
        self._limit = 1

    def split(self, batch: Batch) -> Iterator[Feeds]:
        """Yield the batch in pieces whose tapped tensors fit the budget."""
        if not self._dynamic or any(
            array.shape[:1] != (batch.size,) for array in batch.feeds.values()
        ):
            yield batch.feeds
            return
        start = 0
        while start < batch.size:
            stop = min(start + self._limit, batch.size)
            yield {name: array[start:stop] for name, array in batch.feeds.items()}
            start = stop

    def observe(self, feeds: Feeds, outputs: dict[str, Array], *, first: int) -> None:
        """Observe one inference; ``outputs`` is emptied, so that arrays are released early."""
        self._limit = _pieces_limit(feeds, outputs)
        for name in self._tapped.inputs:
            self._update(name, feeds[name])
            if self._observers[name].has_nan:
                raise DataError(
                    f"input {name!r}: has NaN in samples {first} and following; clean the samples"
                )
        for name in self._tapped.outputs:
            self._update(name, outputs.pop(name))
            if name in self._observers and self._observers[name].has_nan:
                raise CalibrationError(
                    f"tensor {name!r}: became NaN in samples {first} and following; check the "
                    "preprocessing and the weights"
                )

    def close_group(self) -> None:
        for observer in self._observers.values():
            observer.close_group()

    def ranges(self) -> dict[str, TensorRange]:
        """Return the ranges of all wanted tensors, in topological order."""
        with ThreadPoolExecutor(self._threads) as pool:
            found = dict(
                zip(
                    self._observers,
                    pool.map(Observer.range, self._observers.values()),
                    strict=True,
                )
            )
        return {
            name: found[source] for name, source in self._tapped.sources.items() if source in found
        }

    def _update(self, name: str, array: Array) -> None:
        # A tensor of unknown type may turn out to hold integers, or to be no tensor at all.
        if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
            return
        if name not in self._observers:
            axis = self._axes.get(name)
            self._observers[name] = Observer(channel_axis=axis, percentile=self._percentile)
        self._observers[name].update(array, threads=self._threads)


def _has_dynamic_batch(graph: ir.Graph) -> bool:
    """Whether every input's first axis may have any length."""
    shapes = [value.shape for value in graph.inputs if value.name not in graph.initializers]
    return all(
        shape is None or (len(shape) > 0 and not isinstance(shape[0], int)) for shape in shapes
    )


def _pieces_limit(feeds: Feeds, outputs: Mapping[str, Array]) -> int:
    """Return how many samples an inference may have, from one that has just run."""
    samples = max((len(array) for array in feeds.values() if array.ndim), default=1)
    size = sum(array.nbytes for array in outputs.values() if isinstance(array, np.ndarray))
    fitting = _TAP_BYTES * samples // max(size, 1)
    # Powers of two, so that the engine sees few different shapes and reuses its buffers.
    return 1 << max(0, int(fitting).bit_length() - 1)
