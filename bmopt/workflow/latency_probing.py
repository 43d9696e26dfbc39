"""A latency table of this host: a few placements of a model, profiled by its engine."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import onnx_ir as ir

from bmopt.calibration.kernel_shares import share_kernels
from bmopt.calibration.latency_estimate import Observation, border_latencies, group_latencies
from bmopt.calibration.toggles import Toggles, toggles_of
from bmopt.core.backend import Reference
from bmopt.core.host import host_facts
from bmopt.core.latency_table import BorderLatency, GroupLatency, LatencyTable
from bmopt.core.plan import QuantPlan
from bmopt.core.profile import LayerProfile, quickest
from bmopt.core.ranges import Method
from bmopt.core.runner import Feeds
from bmopt.core.scheme import FloatRules
from bmopt.graph.concrete_values import concrete_values
from bmopt.graph.macs import Shape
from bmopt.graph.model_io import save_model
from bmopt.workflow.quantizing import Quantizer

Advance = Callable[[int, int], None]
_Times = TypeVar("_Times", GroupLatency, BorderLatency)

_ROUNDS = 2
_NEEDED = 2


@dataclasses.dataclass(frozen=True)
class Probing:
    """How a latency table is measured.

    Attributes:
        engine: Whose profile tells the times.
        target: What the table is for, ``engine-precision:device``.
        feeds: Inputs, used in rotation.
        threads: Threads of the sessions.
        seconds: Time for all profiles, about; two placements are profiled in any case.
        advance: Told (profiles done, profiles in all).
    """

    engine: Reference
    target: str
    feeds: Sequence[Feeds]
    threads: int = 1
    seconds: float = 5.0
    advance: Advance = lambda done, total: None


def probe_latencies(quantizer: Quantizer, method: Method, probing: Probing) -> LatencyTable:
    """Profile a model in float, in integers and in between, and return what its parts take.

    In between are two placements with every other product in float. Most tensors are borders of
    one kind in the first and of the other kind in the second; what never was one is estimated from
    those that were. Every placement is profiled twice, in turns, and a kernel counts with the
    quicker time.

    Args:
        quantizer: The float model and its ranges, for a scheme that quantises outputs.
        method: Which ranges.
        probing: How.

    Raises:
        DataError: No feeds, or feeds that do not fit the model.
        ModelError: The engine refuses the model.
    """
    everything = quantizer.plan(method, FloatRules())
    toggles = toggles_of(quantizer.model, everything, quantizer.scheme)
    plans = [None, everything, *_alternating(quantizer, method, toggles)]
    with tempfile.TemporaryDirectory(prefix="bmopt-") as scratch:
        graphs = list(_saved(quantizer, plans, Path(scratch)))
        profiles = _profiled([path for path, _ in graphs], probing)
    seen = [
        Observation(
            frozenset(() if plan is None else plan.integer),
            share_kernels(profile.layers, graph, toggles),
        )
        for plan, (_, graph), profile in zip(plans, graphs, profiles, strict=False)
    ]
    return _table(quantizer, toggles, seen, profiles[0], probing)


def _alternating(quantizer: Quantizer, method: Method, toggles: Toggles) -> list[QuantPlan]:
    """Return plans with every other product in float; none where nothing would be in integers."""
    products = [name for name, group in toggles.groups.items() if group.work]
    kept = [products[start::2] for start in range(2)]
    plans = [quantizer.plan(method, FloatRules(), keep_float=names) for names in kept if names]
    return [plan for plan in plans if plan.integer]


def _saved(
    quantizer: Quantizer, plans: Sequence[QuantPlan | None], folder: Path
) -> Iterator[tuple[Path, ir.Graph]]:
    """Write every placement's model; yield its file and its graph."""
    for index, plan in enumerate(plans):
        model = quantizer.model if plan is None else quantizer.apply(plan)
        path = folder / f"{index}.onnx"
        save_model(model, path)
        yield path, model.graph


def _profiled(paths: Sequence[Path], probing: Probing) -> list[LayerProfile]:
    """Return the profile of every file, or of the first ones where the time is up before."""
    each_s = probing.seconds / (_ROUNDS * len(paths))
    deadline = time.monotonic() + probing.seconds
    found: dict[int, list[LayerProfile]] = {}
    turns = list(itertools.product(range(_ROUNDS), range(len(paths))))
    for done, (_, index) in enumerate(turns):
        if time.monotonic() > deadline and len(found) >= _NEEDED:
            break
        profile = probing.engine.profile_graph(
            paths[index], probing.feeds, threads=probing.threads, seconds=each_s
        )
        found.setdefault(index, []).append(profile)
        probing.advance(done + 1, len(turns))
    return [quickest(found[index]) for index in sorted(found)]


def _table(
    quantizer: Quantizer,
    toggles: Toggles,
    seen: Sequence[Observation],
    in_float: LayerProfile,
    probing: Probing,
) -> LatencyTable:
    groups = group_latencies(toggles, seen[0], seen[1])
    shapes = {name: array.shape for name, array in probing.feeds[0].items()}
    borders = border_latencies(toggles, seen, _sizes(quantizer.model, shapes))
    rest = in_float.wall_ns - sum(group.float_ns for group in groups.values())
    return LatencyTable(
        model=quantizer.table.model,
        target=probing.target,
        host=host_facts().model,
        threads=probing.threads,
        groups={name: _rounded(group) for name, group in groups.items()},
        borders={name: _rounded(border) for name, border in borders.items()},
        rest_ns=round(max(0.0, rest), 1),
    )


def _rounded(times: _Times) -> _Times:
    """Return times in tenths of a nanosecond, for people to read."""
    fields = ((field.name, getattr(times, field.name)) for field in dataclasses.fields(times))
    rounded: dict[str, Any] = {
        name: round(value, 1) for name, value in fields if isinstance(value, float)
    }
    return dataclasses.replace(times, **rounded)


def _sizes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return how many elements tensors have in one inference."""
    known = concrete_values(model, shapes)
    return {name: _count(one.shape) for name, one in known.items() if one.shape is not None}


def _count(shape: Shape) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
