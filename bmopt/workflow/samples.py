"""Samples of a run: opened for a model, in feeds that the model accepts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.core.dataset import Batch, Dataset, InputSpec
from bmopt.core.runner import Feeds, OpenModel
from bmopt.data.feeds import ArraySource
from bmopt.data.open import open_dataset
from bmopt.data.preprocess import Preprocess
from bmopt.data.synthetic import RandomDataset
from bmopt.errors import DataError
from bmopt.graph.model_io import input_specs
from bmopt.optimizer.probe_feeds import seeded_feeds

Samples = str | Path | Dataset | ArraySource


@dataclasses.dataclass(frozen=True)
class SampleOptions:
    """How samples are opened.

    Attributes:
        preprocess: ``key=value`` each.
        limit: How many to take at most; 0 for all.
        seed: Of random samples.
    """

    preprocess: tuple[str, ...] = ()
    limit: int = 0
    seed: int = 0


def open_samples(
    samples: Samples, model: ir.Model, open_model: OpenModel, options: SampleOptions
) -> Dataset:
    """Open samples for ``model``; random ones get shapes that the model runs with.

    Raises:
        DataError: The samples are missing or do not fit, or no random shape works.
    """
    specs = input_specs(model)
    shapes: Mapping[str, Sequence[int]] = {}
    if isinstance(samples, str) and samples.split(":")[0] == "random":
        shapes = _random_shapes(specs, model, open_model)
    dataset = open_dataset(
        samples,
        specs,
        Preprocess.from_options(options.preprocess),
        seed=options.seed,
        limit=options.limit or None,
        shapes=shapes,
    )
    return _in_range(dataset, model, open_model) if isinstance(dataset, RandomDataset) else dataset


def has_dynamic_batch(specs: Sequence[InputSpec]) -> bool:
    """Whether the first axis of every input that has one is dynamic."""
    shapes = [spec.shape for spec in specs if spec.shape]
    return bool(shapes) and all(not isinstance(shape[0], int) for shape in shapes)


def first_feeds(dataset: Dataset, count: int, batch_size: int = 1) -> tuple[Feeds, ...]:
    """Return up to ``count`` feeds of ``batch_size`` samples."""
    batches = itertools.islice(dataset.batches(batch_size), count)
    return tuple(batch.feeds for batch in batches)


def _in_range(dataset: RandomDataset, model: ir.Model, open_model: OpenModel) -> RandomDataset:
    """Return random samples whose integers the model takes, which may be indices of anything."""
    with open_model(model) as runner:
        for bound in (dataset.int_bound, 2, 1):
            narrowed = dataclasses.replace(dataset, int_bound=bound)
            try:
                runner.run(first_feeds(narrowed, 1)[0])
            except DataError:
                continue
            return narrowed
    return dataset


def _random_shapes(
    specs: Sequence[InputSpec], model: ir.Model, open_model: OpenModel
) -> dict[str, tuple[int, ...]]:
    if all(_is_free_in_batch_only(spec) for spec in specs):
        return {}
    feeds = seeded_feeds(open_model, model, count=1)
    if not feeds:
        raise DataError(
            "the model runs with none of the shapes tried for its dynamic axes; "
            "name one with --shapes, e.g. input:1x3x224x224"
        )
    return {name: array.shape for name, array in feeds[0].items()}


def _is_free_in_batch_only(spec: InputSpec) -> bool:
    return spec.shape is not None and all(isinstance(d, int) for d in spec.shape[1:])


@dataclasses.dataclass(frozen=True)
class Head:
    """The first samples of a data set."""

    whole: Dataset
    limit: int

    @property
    def name(self) -> str:
        """Name of the whole."""
        return self.whole.name

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the whole with the limit."""
        return f"{self.whole.fingerprint}:{self.limit}"

    @property
    def size(self) -> int:
        """How many samples there are."""
        return min(self.limit, self.whole.size)

    @property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""
        return self.whole.has_labels

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield whole batches until the limit is reached."""
        done = 0
        for batch in self.whole.batches(batch_size):
            if done >= self.limit:
                return
            yield batch
            done += batch.size
