"""What the process that reads samples answers.

To find shapes for random samples a model has to run, and samples may come from a user's function;
neither may take the benchmark along.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bmopt.core.bench_document import TensorSqnr
from bmopt.core.conversation import Command, Told
from bmopt.core.dataset import Batch, Dataset, InputSpec
from bmopt.errors import DataError
from bmopt.workflow.samples import SampleOptions

_POOL_SAMPLES = 64
_POOL_BYTES = 128 << 20
_NOISE_SAMPLES = 64
_NOISE_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Fed:
    """A model that samples are opened for; of ``bmopt.workflow.shared_inputs.Fed``."""

    text: str
    inputs: tuple[InputSpec, ...]
    graph: Path | None


@dataclasses.dataclass(frozen=True)
class OpenedSamples:
    """Samples that were opened.

    Attributes:
        name: Where they come from.
        fingerprint: SHA-256 (hex).
        size: How many there are.
        has_labels: Whether they have labels.
        pool: The first of them, one inference each, to be used in rotation.
    """

    name: str
    fingerprint: str
    size: int
    has_labels: bool
    pool: tuple[Batch, ...]


class Sampler:
    """Samples in this process; its public methods are the commands."""

    def __init__(self) -> None:
        self._dataset: Dataset | None = None
        self._batches: Iterator[Batch] = iter(())

    def open(
        self,
        tell: Told,
        *,
        models: Sequence[Fed],
        data: str,
        options: SampleOptions,
        shapes: Sequence[str],
    ) -> OpenedSamples:
        """Open samples that all models can be fed with."""
        del tell
        from bmopt.workflow.shared_inputs import open_shared_samples

        dataset = open_shared_samples(models, data, options, shapes)
        self._dataset = dataset
        pool = tuple(_pool(dataset))
        if not pool:
            raise DataError(f"{dataset.name}: has no samples; give at least one")
        return OpenedSamples(
            dataset.name, dataset.fingerprint, dataset.size, dataset.has_labels, pool
        )

    def begin(self, tell: Told, *, batch_size: int) -> None:
        """Go to the first batch."""
        del tell
        assert self._dataset is not None
        self._batches = iter(self._dataset.batches(batch_size))

    def next(self, tell: Told) -> Batch | None:
        """Return the next batch, None after the last."""
        del tell
        return next(self._batches, None)

    def layer_noise(self, tell: Told, *, models: tuple[Fed, Fed]) -> tuple[TensorSqnr, ...]:
        """Return the signal-to-noise ratio of every tensor that both graphs compute.

        The first of ``models`` is the reference.
        """
        del tell
        from bmopt.bench.difference import Tolerance
        from bmopt.workflow.comparing_layers import compare_layers
        from bmopt.workflow.samples import Head
        from bmopt.workflow.shared_inputs import fitted

        reference, candidate = models
        assert self._dataset is not None
        assert reference.graph is not None
        assert candidate.graph is not None
        found = compare_layers(
            (candidate.graph, reference.graph),
            Head(self._dataset, _NOISE_SAMPLES),
            _NOISE_BATCH,
            Tolerance(),
            fit=lambda batch: (fitted(batch, candidate.inputs), fitted(batch, reference.inputs)),
            progress=lambda done, total: None,
        )
        return tuple(TensorSqnr(one.name, one.sqnr_db) for one in found if one.sqnr_db is not None)

    def commands(self) -> dict[str, Command]:
        """Return every command by its name."""
        methods = (self.open, self.begin, self.next, self.layer_noise)
        return {method.__name__: method for method in methods}


def _pool(dataset: Dataset) -> Iterator[Batch]:
    """Yield the first samples, one inference each: more than caches hold, less than would hurt."""
    size = 0
    for batch in itertools.islice(dataset.batches(1), _POOL_SAMPLES):
        if size > _POOL_BYTES:
            return
        size += sum(array.nbytes for array in batch.feeds.values())
        yield batch


def commands() -> Mapping[str, Command]:
    """Return what the process answers; see ``bmopt.core.conversation``."""
    return Sampler().commands()
