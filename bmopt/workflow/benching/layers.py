"""Where the time goes, in terms of the original model's nodes, under this host's roof."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.bench.attribution import attribute
from bmopt.bench.layer_times import layer_times
from bmopt.bench.peaks import measure_peaks
from bmopt.bench.roofline import roofline, working_set_bytes
from bmopt.core.bench_document import LayerRow, LayerTimes, TensorSqnr
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds
from bmopt.errors import BmoptError
from bmopt.graph.model_io import load_model
from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import origin_of
from bmopt.workflow.benching.session import Session
from bmopt.workflow.subjects import Subject

_SECONDS = 3.0


def measure_layers(session: Session) -> None:
    """Profile every subject whose engine tells, in a run of its own."""
    session.progress.step("where the time goes")
    source = session.reference.opened.graph
    found = [
        times
        for _, times in session.each(
            lambda worker: worker.ask(
                "layers", seconds=_SECONDS, name=worker.name, source=source, length_s=_SECONDS
            )
        )
        if times is not None
    ]
    session.put(layers=tuple(found))


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


def measure_layer_noise(session: Session) -> None:
    """Compare the tensors inside of every subject with those of the reference."""
    reference = session.reference
    if reference.opened.graph is None:
        return
    session.progress.step("error inside")
    for worker in session.workers[1:]:
        if worker.opened.graph is None:
            continue
        try:
            found = session.samples.layer_noise(reference.opened, worker.opened)
        except BmoptError as error:
            session.notes.append(f"error inside {worker.name} was not measured: {error}")
            continue
        named = (dataclasses.replace(one, subject=worker.name) for one in found)
        outputs = {one.tensor for one in session.document.layer_sqnr if one.subject == worker.name}
        fresh: tuple[TensorSqnr, ...] = tuple(one for one in named if one.tensor not in outputs)
        session.put(layer_sqnr=(*session.document.layer_sqnr, *fresh))
