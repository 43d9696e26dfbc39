"""Profiles of OpenVINO's CPU plugin.

Its counters add up the whole microseconds that a kernel took, in all inferences since the model
was opened, and show the mean, in whole microseconds again. They therefore miss half a microsecond
twice of a kernel, on average, and kernels of less than one microsecond do not show at all. The
first inferences, in which kernels are still being prepared, are taken off. What the median
inference without counters takes more than the kernels and an empty inference together is shared
out among the kernels, up to the microsecond that is missing of each; the rest is that of small
kernels and of what OpenVINO does between kernels. Where the counters make inferences longer, what
they add is taken off in the same way.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.backends.openvino.kernels import (
    Kernel,
    kernels_of,
    node_names,
    nodes_behind,
    read_counters,
    with_absorbed,
)
from bmopt.backends.openvino.session import open_file
from bmopt.backends.profiled_turns import Clock, in_turns, turn
from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.core.runner import Feeds
from bmopt.errors import DataError
from bmopt.graph.model_io import load_model, save_model

_WARM_UP = 3
_HIDDEN_NS = 1000.0
_EMPTY_RUNS = 200
_EMPTY_SECONDS = 0.5


def profile_file(
    path: Path,
    feeds: Sequence[Feeds],
    *,
    graph: Path | None = None,
    threads: int = 0,
    inferences: int = 200,
    seconds: float = 5.0,
    clock: Clock = time.perf_counter_ns,
) -> LayerProfile:
    """Return where the time goes when OpenVINO runs a file, as ``open_file`` opens it.

    Times are means, scaled by what the median inference takes of the mean one, so that an
    interruption does not count. ``event_ns`` is negative where rounding hid more than the counters
    cost.

    Args:
        path: An ``.xml`` or ``.onnx`` file.
        feeds: Inputs, used in rotation.
        graph: The ``.onnx`` file that an IR was converted from: kernels then stand for its nodes.
            Without it they stand for the IR's layers, some under names that OpenVINO made up. An
            ``.onnx`` file is its own.
        threads: Threads of an inference; 0 lets OpenVINO choose.
        inferences: How many inferences with counters, at most.
        seconds: Time that these and as many without them may take; five run in any case.
        clock: Nanoseconds.

    Raises:
        DataError: No feeds, or feeds that do not fit the model.
        HostError: OpenVINO is not installed.
        ModelError: OpenVINO refuses the file, or the graph cannot be read.
    """
    if not feeds:
        raise DataError("no inputs to profile with; give at least one sample")
    if graph is None and path.suffix.lower() == ".onnx":
        graph = path
    model = None if graph is None else load_model(graph)
    found = _watched(path, feeds, threads, inferences, seconds, clock)
    wall, profiled_wall = statistics.median(found.plain_ns), statistics.median(found.watched_ns)
    steady = profiled_wall / statistics.fmean(found.watched_ns)
    call = _empty_ns(threads, clock)
    event = event_ns(
        [kernel.mean_ns * steady for kernel in found.kernels],
        wanted_ns=wall - min(call, wall),
        added_ns=profiled_wall - wall,
    )
    return LayerProfile(
        engine="openvino",
        threads=threads,
        inferences=len(found.watched_ns),
        layers=tuple(
            _layer(kernel, steady, event, nodes)
            for kernel, nodes in zip(found.kernels, _nodes(found.kernels, model), strict=True)
        ),
        wall_ns=wall,
        profiled_wall_ns=profiled_wall,
        event_ns=event,
        call_ns=call,
    )


def event_ns(times_ns: Sequence[float], *, wanted_ns: float, added_ns: float) -> float:
    """Return what to take off every kernel so that all together take ``wanted_ns``.

    It is no more than a kernel's share of ``added_ns``, by which the counters make an inference
    longer, and no less than minus what rounding hides of a kernel on average.
    """
    if not times_ns:
        return 0.0
    share = max(0.0, added_ns) / len(times_ns)
    return min(share, max(-_HIDDEN_NS, (sum(times_ns) - wanted_ns) / len(times_ns)))


@dataclasses.dataclass(frozen=True)
class _Watched:
    """What came of running a model in turns without and with counters."""

    plain_ns: list[int]
    watched_ns: list[int]
    kernels: list[Kernel]


def _watched(
    path: Path,
    feeds: Sequence[Feeds],
    threads: int,
    inferences: int,
    seconds: float,
    clock: Clock,
) -> _Watched:
    with (
        open_file(path, threads=threads) as plain,
        open_file(path, threads=threads, profile=True) as watched,
    ):
        for runner in (plain, watched):
            for feed in itertools.islice(itertools.cycle(feeds), _WARM_UP):
                runner.run(feed)
        before = read_counters(watched.request, _WARM_UP)
        plain_ns, watched_ns = in_turns(plain, watched, feeds, inferences, seconds, clock)
        after = read_counters(watched.request, _WARM_UP + len(watched_ns))
        kernels = kernels_of(watched.compiled, watched.request, before, after)
    return _Watched(plain_ns, watched_ns, kernels)


def _empty_ns(threads: int, clock: Clock) -> float:
    """Return the latency of a model that changes the sign of one number."""
    shape, kind = ir.Shape([1]), ir.TensorType(ir.DataType.FLOAT)
    x, y = (ir.Value(name=name, shape=shape, type=kind) for name in "xy")
    node = ir.Node("", "Neg", [x], outputs=[y], name="y")
    graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": 17}, name="empty")
    feeds = itertools.repeat({"x": ir.tensor([1.0]).numpy().copy()})
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        path = Path(folder) / "empty.onnx"
        save_model(ir.Model(graph, ir_version=8), path)
        with open_file(path, threads=threads) as runner:
            limit_ns = round(_EMPTY_SECONDS * 1e9)
            return statistics.median(turn(runner, feeds, _EMPTY_RUNS, clock, limit_ns))


def _nodes(kernels: Sequence[Kernel], model: ir.Model | None) -> list[tuple[str, ...]]:
    """Return whose work each kernel does: nodes of the model, or layers of the IR without one."""
    if model is None:
        return [kernel.layers for kernel in kernels]
    names = node_names(model)
    return with_absorbed(model, [nodes_behind(kernel.layers, names) for kernel in kernels])


def _layer(kernel: Kernel, steady: float, event: float, nodes: tuple[str, ...]) -> LayerTime:
    return LayerTime(
        node=kernel.name,
        op=kernel.op,
        provider=kernel.kind,
        dtype=kernel.dtype,
        nodes=nodes,
        ns=max(0.0, kernel.mean_ns * steady - event),
        profiled_ns=kernel.mean_ns,
    )
