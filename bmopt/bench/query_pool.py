"""Queries made of samples before anything is timed; where the model allows, a query is a batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from bmopt.bench.crew import Query
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Feeds

BatchOf = Callable[[Sequence[Feeds]], Feeds | None]
"""Joins the feeds of several samples into those of one inference; None where it cannot."""


def queries_of(
    feeds: Sequence[Feeds], samples: int, batch_of: BatchOf | None = None
) -> tuple[tuple[Query, ...], bool]:
    """Return queries of ``samples`` consecutive samples each, and whether they are batches.

    Every sample is used; the last query goes on with the first samples where they do not divide.
    Batches are used only where all of them can be made.
    """
    count = -(-len(feeds) // samples)
    rotation = itertools.cycle(feeds)
    singles = tuple(tuple(itertools.islice(rotation, samples)) for _ in range(count))
    if batch_of is None or samples == 1:
        return singles, False
    batches: list[Query] = []
    for query in singles:
        batch = batch_of(query)
        if batch is None:
            return singles, False
        batches.append((batch,))
    return tuple(batches), True


def concatenation(inputs: Sequence[InputSpec]) -> BatchOf:
    """Return what joins feeds along the first axis where every input of the model has it dynamic.

    It declines feeds that differ in another axis, such as sentences of different lengths.
    """
    dynamic = all(spec.shape and not isinstance(spec.shape[0], int) for spec in inputs)

    def batch_of(feeds: Sequence[Feeds]) -> Feeds | None:
        names = [spec.name for spec in inputs]
        shapes = [{name: one[name].shape[1:] for name in names} for one in feeds]
        if not dynamic or any(shape != shapes[0] for shape in shapes):
            return None
        return {name: np.concatenate([one[name] for one in feeds]) for name in names}

    return batch_of
