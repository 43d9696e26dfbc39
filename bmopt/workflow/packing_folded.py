"""Preprocessing and top-k as part of a packed graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.core.engine import BuildOptions, Profile
from bmopt.errors import BundleError
from bmopt.graph.model_io import input_specs
from bmopt.optimizer.pass_base import Pass
from bmopt.optimizer.passes.append_top_k import AppendTopK
from bmopt.optimizer.passes.fold_preprocess import FoldPreprocess
from bmopt.optimizer.pipeline import Pipeline
from bmopt.workflow.packed_artifact import Folded, Packed, Ranking

_KEPT = ("input", "resize", "crop")
"""Steps of the preprocessing that stay outside of the graph."""


def folded(packed: Packed, *, preprocess: bool, top_k: int) -> Packed:
    """Return the artifact with its preprocessing and a top-k in the graph, as asked.

    Raises:
        BundleError: They cannot be there.
    """
    if not preprocess and not top_k:
        return packed
    option = "--fold-preprocess" if preprocess else "--top-k"
    if packed.engine_file:
        raise BundleError(
            f"{packed.path}: its engine is built already; pack an artifact that has none, for "
            f"example of ort, or leave out {option}"
        )
    plain = packed.graph
    passes: list[Pass] = []
    if top_k:
        passes.append(AppendTopK(top_k))
        plain = _rewritten(packed.path, plain, passes[-1])
    graph, outside = plain, packed.preprocess
    if preprocess:
        rewrite, outside = _folding(packed)
        graph = _rewritten(packed.path, plain, rewrite)
        passes.append(rewrite)
    facts = Folded(
        plain=plain,
        passes=str(Pipeline(tuple(passes))),
        ranking=_ranking(packed.graph, plain) if top_k else None,
        pixels=dict(packed.preprocess or {}) if preprocess else {},
    )
    return dataclasses.replace(packed, graph=graph, preprocess=outside, folded=facts)


def _rewritten(path: Path, graph: ir.Model, rewrite: Pass) -> ir.Model:
    result = Pipeline((rewrite,)).run(graph)
    refusals = [refusal for record in result.log.records for refusal in record.refusals]
    told = [f"{refusal.node} {refusal.reason}" for refusal in refusals]
    told += [str(rollback) for rollback in result.log.rollbacks]
    if told:
        option = "--top-k" if isinstance(rewrite, AppendTopK) else "--fold-preprocess"
        raise BundleError(f"{path}: {told[0]}; leave out {option}")
    return result.model


def _folding(packed: Packed) -> tuple[FoldPreprocess, Mapping[str, Any]]:
    """Return the pass, and what is left of the preprocessing."""
    specs = input_specs(packed.graph)
    options = packed.preprocess
    if options is None and (len(specs) != 1 or len(specs[0].shape or ()) not in (3, 4)):
        shapes = ", ".join(f"{spec.name} with {len(spec.shape or ())} axes" for spec in specs)
        raise BundleError(
            f"{packed.path}: has no picture for an input ({shapes}); leave out --fold-preprocess"
        )
    if options is None:
        raise BundleError(
            f"{packed.path}: does not say how a picture becomes its input; compile it on "
            "pictures, or with --preprocess, or leave out --fold-preprocess"
        )
    if options["dtype"] != specs[0].dtype:
        raise BundleError(
            f"{packed.path}: its pictures are made {options['dtype']}, and its input is "
            f"{specs[0].dtype}; leave out --fold-preprocess"
        )
    size = options.get("crop") or options.get("resize")
    channels = options["channels"]
    rewrite = FoldPreprocess(
        layout=options["layout"],
        channels=channels,
        scale=options.get("scale"),
        mean=tuple(options.get("mean", ())),
        std=tuple(options.get("std", ())),
        size=_extent(size, is_crop="crop" in options),
    )
    kept = {key: options[key] for key in _KEPT if key in options}
    stored = "GRAY" if channels == "GRAY" else "RGB"
    return rewrite, {**kept, "channels": stored, "layout": "NHWC", "dtype": "uint8"}


def _extent(size: Any, *, is_crop: bool) -> tuple[int, ...]:  # noqa: ANN401 - a side, or two
    """Return height and width, nothing where pictures are scaled by their short side only."""
    if isinstance(size, int):
        return (size, size) if is_crop else ()
    return tuple(size or ())


def _ranking(before: ir.Model, after: ir.Model) -> Ranking:
    """Return what a top-k made of the outputs: two stand where one was."""
    names = [str(value.name) for value in after.graph.outputs]
    place, value = next(
        (place, value)
        for place, value in enumerate(before.graph.outputs)
        if value.name not in names
    )
    assert value.shape is not None
    count = value.shape[-1]
    assert isinstance(count, int)
    return Ranking(str(value.name), names[place], names[place + 1], count)


def profiles_for_pixels(options: BuildOptions | None, packed: Packed) -> BuildOptions | None:
    """Return the build options with the shapes that the folded input has."""
    if options is None or packed.folded is None or not packed.folded.pixels:
        return options
    name, layout = packed.folded.pixels["input"], packed.folded.pixels["layout"]
    profiles = {
        key: _as_stored(profile, layout) if key == name else profile
        for key, profile in options.profiles.items()
    }
    return dataclasses.replace(options, profiles=profiles)


def _as_stored(profile: Profile, layout: str) -> Profile:
    return Profile(*(_stored(shape, layout) for shape in dataclasses.astuple(profile)))


def _stored(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    if len(shape) == 3:
        return (*shape, 1)
    n, *rest = shape
    return (n, *rest[1:], rest[0]) if layout == "NCHW" else (n, *rest)
