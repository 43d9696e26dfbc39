"""Seeded random feeds made from a model's inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array, Feeds, OpenModel, Runner
from bmopt.errors import BmoptError
from bmopt.graph.model_io import input_specs


@dataclasses.dataclass(frozen=True)
class Extents:
    """Numbers for dynamic axes that nothing else is known about.

    Attributes:
        batch: For an input's first axis, and inner axes of inputs with up to three axes.
        inner: For the last axis of such inputs, and from the third axis on of larger ones
            (the height and width of images).
    """

    batch: int
    inner: int


CANDIDATES = (
    *(Extents(2, 64), Extents(3, 96), Extents(2, 16), Extents(3, 24), Extents(1, 512)),
    *(Extents(1, 64), Extents(1, 96), Extents(1, 16), Extents(2, 3), Extents(1, 1)),
)
"""Tried in this order; batches above one first, so that an axis frozen at one is noticed."""


def seeded_feeds(
    open_model: OpenModel,
    model: ir.Model,
    *,
    count: int = 2,
    seed: int = 0,
    axes: Mapping[str, int] | None = None,
) -> tuple[Feeds, ...]:
    """Return up to ``count`` random feeds that ``model`` runs with; none where it runs with none.

    Where axes are dynamic each of the feeds has other extents. ``axes`` gives numbers to axes by
    symbol; the rest are tried from ``CANDIDATES``.
    """
    found: list[Feeds] = []
    try:
        extents = CANDIDATES if _has_free_axes(model, axes or {}) else (CANDIDATES[0],) * count
        with open_model(model) as runner:
            for number, candidate in enumerate(extents):
                feeds = random_feeds(model, candidate, seed + number, axes)
                if len(found) < count and _runs(runner, feeds):
                    found.append(feeds)
    except BmoptError:
        return ()
    return tuple(found)


def random_feeds(
    model: ir.Model, extents: Extents, seed: int, axes: Mapping[str, int] | None = None
) -> Feeds:
    """Return one feed: floats are standard normal, integers 0 or 1, strings empty.

    Inputs that have a default (an initialiser of the same name) are left to it.
    """
    rng = np.random.default_rng(seed)
    sizes = dict(axes or {})
    specs = input_specs(model)
    return {spec.name: _random(rng, spec, _shape(spec, extents, sizes)) for spec in specs}


def _runs(runner: Runner, feeds: Feeds) -> bool:
    try:
        runner.run(feeds)
    except BmoptError:
        return False
    return True


def _has_free_axes(model: ir.Model, axes: Mapping[str, int]) -> bool:
    shapes = [spec.shape for spec in input_specs(model)]
    return any(
        shape is None or any(not isinstance(d, int) and d not in axes for d in shape)
        for shape in shapes
    )


def _shape(spec: InputSpec, extents: Extents, sizes: dict[str, int]) -> tuple[int, ...]:
    """Return the shape; symbols met for the first time are added to ``sizes``."""
    if spec.shape is None:
        return (extents.batch,)
    shape = []
    for axis, dim in enumerate(spec.shape):
        if isinstance(dim, int):
            shape.append(dim)
            continue
        size = _free_size(axis, len(spec.shape), extents)
        shape.append(size if dim is None else sizes.setdefault(dim, size))
    return tuple(shape)


def _free_size(axis: int, rank: int, extents: Extents) -> int:
    if axis == 0 or (rank > 3 and axis == 1):
        return extents.batch
    return extents.inner if rank > 3 or axis == rank - 1 else extents.batch


def _random(rng: np.random.Generator, spec: InputSpec, shape: tuple[int, ...]) -> Array:
    kind = np.dtype(spec.dtype)
    if kind.kind in "OSU":
        return np.full(shape, "", dtype=object)
    if kind.kind in "biu":
        return np.asarray(rng.integers(0, 2, shape)).astype(kind)
    return np.asarray(rng.standard_normal(shape)).astype(kind)
