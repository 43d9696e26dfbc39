"""Golden tensors of a graph that has its preprocessing or a top-k in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.backends.registry import backend_for, reference
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.data.pixels import convert
from bmopt.data.preprocess import Preprocess
from bmopt.graph.model_io import input_specs
from bmopt.workflow.engines import MODEL, read_options
from bmopt.workflow.packed_artifact import Packed
from bmopt.workflow.packing_folded import profiles_for_pixels
from bmopt.workflow.stand_in import open_stand_in


def recorded_again(
    packed: Packed, pairs: Sequence[tuple[Feeds, Feeds]], path: Path
) -> tuple[list[tuple[Feeds, Feeds]], str]:
    """Return golden pairs of the folded graph in the file ``path``, and who answered.

    Inputs are the artifact's own where they are the image of a picture, else drawn from a seed.
    """
    feeds = [_pixel_feeds(packed, number, pair[0]) for number, pair in enumerate(pairs)]
    with _engine(packed, path) as (runner, source):
        # Copied, since an engine may hand out the same memory again.
        return [(feed, _copied(runner.run(feed))) for feed in feeds], source


def _copied(outputs: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.array(array) for name, array in outputs.items()}


@contextlib.contextmanager
def _engine(packed: Packed, path: Path) -> Iterator[tuple[Runner, str]]:
    """Yield what answers: the target's engine where it runs here and needs no building."""
    backend = backend_for(packed.target)
    if backend.builder is None and backend.probe(packed.target).run:
        options = profiles_for_pixels(read_options(packed.path), packed)
        with backend.open(path, packed.target, threads=1, options=options) as runner:
            yield runner, "artifact"
        return
    with open_stand_in(reference(), path, packed.target, threads=1) as runner:
        yield runner, "graph"


def class_tolerance(
    packed: Packed, pairs: Sequence[tuple[Feeds, Feeds]], allowed: Mapping[str, float]
) -> dict[str, float]:
    """Return a top-k's output of classes -> tolerance, nothing without a top-k.

    Scores that may differ by their tolerance each may change places, and their classes with them.

    Args:
        packed: The artifact.
        pairs: What it takes, and what the packed graph answers.
        allowed: Output -> tolerance.
    """
    ranking = None if packed.folded is None else packed.folded.ranking
    if ranking is None:
        return {}
    reach, largest = 2 * allowed[ranking.scores], allowed[ranking.classes]
    with open_stand_in(reference(), packed.path / MODEL, packed.target, threads=1) as runner:
        for feeds, answers in pairs:
            scores = runner.run(feeds)[ranking.source].astype(np.float64)
            best = np.asarray(answers[ranking.scores], np.float64)
            near = np.abs(scores[:, None, :] - best[:, :, None]) <= reach
            away = np.abs(np.arange(ranking.count) - answers[ranking.classes][:, :, None])
            largest = max(largest, float(away[near].max(initial=0)))
    return {ranking.classes: largest}


def plain_feeds(packed: Packed, feeds: Feeds) -> Feeds:
    """Return what the graph without the preprocessing takes, prepared as samples are."""
    if packed.folded is None or not packed.folded.pixels:
        return feeds
    name = str(packed.folded.pixels["input"])
    return {name: _prepared(packed, feeds[name])}


def _prepared(packed: Packed, pixels: Array) -> Array:
    assert packed.folded is not None
    steps = ("channels", "scale", "mean", "std", "layout")
    options = {key: packed.folded.pixels[key] for key in steps if key in packed.folded.pixels}
    (spec,) = input_specs(packed.folded.plain)
    given = Preprocess.from_mapping({**options, "dtype": spec.dtype}, str(packed.path))
    return convert(pixels, given, spec, str(packed.path))


def _pixel_feeds(packed: Packed, number: int, feeds: Feeds) -> Feeds:
    """Return the golden inputs numbered ``number`` as the packed graph takes them."""
    if packed.folded is None or not packed.folded.pixels:
        return feeds
    options = packed.folded.pixels
    (spec,) = input_specs(packed.graph)
    array = feeds[spec.name]
    found = _picture(array, options)
    if found.shape[1:] != _sizes(spec, found.shape)[1:] or not np.array_equal(
        _prepared(packed, found), array
    ):
        drawn = np.random.default_rng(number)
        found = drawn.integers(0, 256, _sizes(spec, found.shape), np.uint8)
    return {spec.name: found}


def _sizes(spec: InputSpec, shape: Sequence[int]) -> tuple[int, ...]:
    axes = zip(spec.shape or (), shape, strict=True)
    return tuple(axis if isinstance(axis, int) else size for axis, size in axes)


def _picture(array: Array, options: Mapping[str, Any]) -> Array:
    """Return the uint8 picture [n, h, w, c] whose image is closest to ``array``."""
    values = np.nan_to_num(array.astype(np.float64))
    if values.ndim == 3:
        values = values[..., None]
    elif options["layout"] == "NCHW":
        values = values.transpose(0, 2, 3, 1)
    values = values * np.array(options.get("std", 1.0)) + np.array(options.get("mean", 0.0))
    values = np.rint(values / (options.get("scale") or 1.0))
    if options["channels"] == "BGR":
        values = values[..., ::-1]
    return np.ascontiguousarray(np.clip(values, 0, 255).astype(np.uint8))
