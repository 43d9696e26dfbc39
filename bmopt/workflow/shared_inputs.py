"""The same samples for several models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bmopt.backends.registry import reference
from bmopt.core.dataset import Batch, Dataset, InputSpec
from bmopt.core.runner import Feeds
from bmopt.data.fit import is_float, numpy_dtype, shape_text
from bmopt.data.open import open_dataset
from bmopt.data.preprocess import Preprocess
from bmopt.errors import ModelError
from bmopt.graph.model_io import load_model
from bmopt.workflow.samples import SampleOptions, open_samples
from bmopt.workflow.shapes import fix_shapes, parse_shapes, static_axes

RANDOM = "random:16"
"""The samples where none are given."""


class Fed(Protocol):
    """A model that samples are opened for; ``bmopt.workflow.subjects.Subject`` is one."""

    @property
    def text(self) -> str:
        """What the user wrote."""

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """What has to be fed."""

    @property
    def graph(self) -> Path | None:
        """Its ``.onnx`` file, None where there is none."""


def open_shared_samples(
    subjects: Sequence[Fed], data: str, options: SampleOptions, shapes: Sequence[str] = ()
) -> Dataset:
    """Open samples for the model that leaves the least open; random ones where ``data`` is empty.

    ``shapes`` gives sizes to dynamic axes, as ``--shapes`` does.

    Raises:
        DataError: The samples are missing or do not fit.
        UsageError: ``data`` or an option makes no sense.
    """
    spec = data or RANDOM
    chosen = max(subjects, key=lambda subject: (subject.graph is not None, _fixed(subject)))
    if chosen.graph is not None:
        model = load_model(chosen.graph)
        fix_shapes(model, static_axes(parse_shapes(shapes)))
        return open_samples(spec, model, reference().open_checked, options)
    return open_dataset(
        spec,
        chosen.inputs,
        Preprocess.from_options(options.preprocess),
        seed=options.seed,
        limit=options.limit or None,
        shapes={name: profile.opt for name, profile in parse_shapes(shapes).items()},
    )


def _fixed(subject: Fed) -> int:
    return sum(isinstance(axis, int) for spec in subject.inputs for axis in spec.shape or ())


def require_same_inputs(subjects: Sequence[Fed]) -> None:
    """Check that the same samples can be fed to all, but for the type of floats.

    Raises:
        ModelError: A model has other inputs than the first; the message names them.
    """
    for other in subjects[1:]:
        _require_alike(subjects[0], other)


def _require_alike(first: Fed, other: Fed) -> None:
    a, b = ({spec.name: spec for spec in subject.inputs} for subject in (first, other))
    differing = sorted(
        name for name in a.keys() | b.keys() if not _alike(a.get(name), b.get(name))
    )
    if differing:
        named = "; ".join(
            f"{n!r} is {_said(a.get(n))} against {_said(b.get(n))}" for n in differing
        )
        raise ModelError(f"{first.text} and {other.text} have different inputs: {named}")


def _alike(a: InputSpec | None, b: InputSpec | None) -> bool:
    """Whether the same array, cast to another float type perhaps, can be fed to both."""
    if a is None or b is None:
        return False
    same_type = a.dtype == b.dtype or all(is_float(numpy_dtype(s.dtype)) for s in (a, b))
    if a.shape is None or b.shape is None:
        return same_type
    both = zip(a.shape, b.shape, strict=False)
    open_or_equal = all(x == y or not (isinstance(x, int) and isinstance(y, int)) for x, y in both)
    return same_type and len(a.shape) == len(b.shape) and open_or_equal


def _said(spec: InputSpec | None) -> str:
    if spec is None:
        return "missing"
    return f"{spec.dtype} {'of any rank' if spec.shape is None else shape_text(spec.shape)}"


def fitted(batch: Batch, inputs: Sequence[InputSpec]) -> Batch:
    """Return the batch with its floats in the types of a model's inputs."""
    return dataclasses.replace(batch, feeds=fitted_feeds(batch.feeds, inputs))


def fitted_feeds(feeds: Feeds, inputs: Sequence[InputSpec]) -> Feeds:
    """Return feeds with their floats in the types of a model's inputs."""
    found = dict(feeds)
    for spec in inputs:
        array = found.get(spec.name)
        if array is not None and array.dtype.name != spec.dtype and is_float(array.dtype):
            found[spec.name] = array.astype(numpy_dtype(spec.dtype))
    return found
