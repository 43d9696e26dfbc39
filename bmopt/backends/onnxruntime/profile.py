"""Profiles of ONNX Runtime's CPU provider.

Its profiler formats the shapes of a node while the node's time still runs, which takes a few
microseconds: more than many nodes do. How much it is on this host and model is found by running
the model in turns with the profiler and without: the same number of nanoseconds is taken off every
node, such that what is left and an empty inference's latency add up to the latency of the model.
It is no less than half of what the profiler shows for a node with nothing to do.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from bmopt.backends.onnxruntime.covering import covered_nodes
from bmopt.backends.onnxruntime.session import SessionConfig, open_model
from bmopt.backends.onnxruntime.trace import NodeEvents, node_events
from bmopt.backends.profiled_turns import FEWEST, Clock, in_turns
from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.core.runner import Feeds
from bmopt.errors import DataError
from bmopt.graph.nesting import nodes_in

_WARM_UP = 3
_MAX_EVENTS = 100_000
_EMPTY_RUNS = 200
_EMPTY_SECONDS = 0.5
_EMPTY_NODES = 32
_BISECTIONS = 40
_QUANTIZES_INPUT = "DynamicQuantize"


def profile_model(
    model: ir.Model,
    feeds: Sequence[Feeds],
    *,
    threads: int = 0,
    inferences: int = 200,
    seconds: float = 5.0,
    clock: Clock = time.perf_counter_ns,
) -> LayerProfile:
    """Return where the time goes when ONNX Runtime runs ``model`` with all its optimisations.

    Args:
        model: A loaded model: its nodes have unique names.
        feeds: Inputs, used in rotation.
        threads: Intra-op threads; 0 lets ONNX Runtime choose.
        inferences: How many inferences with the profiler, at most.
        seconds: Time that these may take, and as many without the profiler beside them; five run
            in any case.
        clock: Nanoseconds.

    Raises:
        DataError: No feeds, or feeds that do not fit the model.
        ModelError: ONNX Runtime refuses the model.
    """
    if not feeds:
        raise DataError("no inputs to profile with; give at least one sample")
    found = _watched(model, feeds, threads, inferences, seconds, clock)
    covered = covered_nodes(model.graph, found.optimised.graph)
    wall, profiled_wall = statistics.median(found.plain_ns), statistics.median(found.watched_ns)
    call, least = _empty(threads, clock)
    event = event_cost(
        found.events,
        wanted_ns=wall - min(call, wall),
        # Half, for a shared machine may have been twice as fast a second earlier.
        least_ns=least / 2,
        added_ns=profiled_wall - wall,
    )
    return LayerProfile(
        engine="onnxruntime",
        threads=threads,
        inferences=len(found.watched_ns),
        layers=tuple(_layer(entry, event, covered) for entry in found.events),
        wall_ns=wall,
        profiled_wall_ns=profiled_wall,
        event_ns=event,
        call_ns=call,
    )


def event_cost(
    entries: Sequence[NodeEvents], *, wanted_ns: float, least_ns: float, added_ns: float
) -> float:
    """Return what to take off for every event so that all nodes together take ``wanted_ns``.

    A node's time does not fall below 0. It is ``least_ns`` where that makes the times short enough
    already, and never more than an event's share of ``added_ns``, by which the profiler makes an
    inference longer.
    """
    share = added_ns / max(1.0, sum(entry.events for entry in entries))
    low, high = least_ns, max(least_ns, share)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        left = sum(_without(entry, middle) for entry in entries)
        low, high = (middle, high) if left > wanted_ns else (low, middle)
    return low


def _without(entry: NodeEvents, event_ns: float) -> float:
    return max(0.0, entry.median_ns - event_ns * entry.events)


@dataclasses.dataclass(frozen=True)
class _Watched:
    """What came of running a model in turns without and with the profiler."""

    plain_ns: list[int]
    watched_ns: list[int]
    events: list[NodeEvents]
    optimised: ir.Model


def _watched(
    model: ir.Model,
    feeds: Sequence[Feeds],
    threads: int,
    inferences: int,
    seconds: float,
    clock: Clock,
) -> _Watched:
    with tempfile.TemporaryDirectory(prefix="bmopt-") as scratch:
        dump, prefix = Path(scratch) / "optimized.onnx", Path(scratch) / "profile"
        config = SessionConfig(threads=threads, dump=dump, profile=prefix)
        with (
            open_model(model, SessionConfig(threads=threads)) as plain,
            open_model(model, config) as watched,
        ):
            optimised = _without_weights(dump)
            names = sum(1 for _ in nodes_in(optimised.graph))
            count = min(inferences, max(FEWEST, _MAX_EVENTS // max(1, names)))
            for runner in (plain, watched):
                for feed in itertools.islice(itertools.cycle(feeds), _WARM_UP):
                    runner.run(feed)
            plain_ns, watched_ns = in_turns(plain, watched, feeds, count, seconds, clock)
            trace = Path(watched.session.end_profiling())
        text = trace.read_text(encoding="utf-8")
    return _Watched(
        plain_ns, watched_ns, node_events(json.loads(text), len(watched_ns)), optimised
    )


def _without_weights(path: Path) -> ir.Model:
    """Return the graph in a file that will be deleted; where its weights lie is of no interest."""
    return ir.from_proto(onnx.load(str(path), load_external_data=False))


def _empty(threads: int, clock: Clock) -> tuple[float, float]:
    """Return the latency of a model with nothing to do, and what the profiler shows for a node."""
    effort = (threads, _EMPTY_RUNS, _EMPTY_SECONDS, clock)
    feeds = [{"v0": ir.tensor([1.0]).numpy()}]
    one, many = (_watched(_negations(length), feeds, *effort) for length in (1, _EMPTY_NODES))
    return (
        statistics.median(one.plain_ns),
        statistics.median(entry.median_ns for entry in many.events),
    )


def _negations(length: int) -> ir.Model:
    """Return a model that changes the sign of a number ``length`` times."""
    shape, kind = ir.Shape([1]), ir.TensorType(ir.DataType.FLOAT)
    values = [ir.Value(name=f"v{i}", shape=shape, type=kind) for i in range(length + 1)]
    nodes = [
        ir.Node("", "Neg", [before], outputs=[after], name=str(after.name))
        for before, after in itertools.pairwise(values)
    ]
    graph = ir.Graph(values[:1], values[-1:], nodes=nodes, opset_imports={"": 17}, name="empty")
    return ir.Model(graph, ir_version=8)


def _layer(entry: NodeEvents, event_ns: float, covered: dict[str, tuple[str, ...]]) -> LayerTime:
    key = entry.key
    return LayerTime(
        node=key.name,
        op=key.op,
        provider=entry.provider,
        dtype="uint8" if key.op.startswith(_QUANTIZES_INPUT) else entry.dtype,
        nodes=covered.get(key.name, ()),
        ns=_without(entry, event_ns),
        profiled_ns=entry.median_ns,
    )
