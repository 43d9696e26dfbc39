"""Where the time of a subject goes, profiled in the process that has it open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.bench.attribution import attribute
from bmopt.bench.layer_times import layer_times
from bmopt.bench.peaks import measure_peaks
from bmopt.bench.roofline import roofline, working_set_bytes
from bmopt.core.bench_document import LayerRow, LayerTimes
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds
from bmopt.graph.model_io import load_model
from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import origin_of
from bmopt.workflow.subjects import Subject


def profiled(
    subject: Subject,
    name: str,
    source: Path | None,
    feeds: Sequence[Feeds],
    threads: int,
    seconds: float,
) -> LayerTimes | None:
    """Return where the time of a subject goes; None where its engine does not tell.

    Args:
        subject: The subject, opened in this process.
        name: What the document calls it.
        source: The model that it may have been made of.
        feeds: Inputs, used in rotation.
        threads: Threads that the engine is given.
        seconds: Time for the profile.
    """
    if subject.profile is None:
        return None
    profile = subject.profile(feeds, threads, seconds)
    if subject.graph is None:
        return _by_kernel(profile, name)
    graph = load_model(subject.graph)
    shapes = {key: array.shape for key, array in feeds[0].items()}
    table = attribute(profile, graph, source=_source(graph, source), shapes=shapes)
    peaks = measure_peaks(max(threads, 1), working_set_bytes(table))
    return layer_times(roofline(table, peaks), name)


def _source(graph: ir.Model, source: Path | None) -> ir.Model | None:
    """Return the source model where the graph's nodes are said to come from it."""
    if source is None:
        return None
    model = load_model(source)
    known = {str(node.name) for node in nodes_in(model.graph)}
    origins = {name for node in nodes_in(graph.graph) for name in origin_of(node)}
    return model if len(origins & known) * 2 > len(origins) else None


def _by_kernel(profile: LayerProfile, name: str) -> LayerTimes:
    """Return the kernels as they are: without a graph neither work nor roof are known."""
    rows = tuple(
        LayerRow(
            nodes=layer.nodes or (layer.node,),
            op=layer.op,
            ns=layer.ns,
            share=layer.ns / profile.wall_ns if profile.wall_ns else 0.0,
            dtype=layer.dtype,
        )
        for layer in profile.layers
    )
    return LayerTimes(name, rows, unattributed_ns=profile.wall_ns - profile.layers_ns)
