"""ONNX Runtime's profile: the events of its Chrome trace, as times of nodes.

An event has a start and a duration in whole microseconds, cut off. A node's median is that of the
distribution which such counts stand for, so that it is finer than a microsecond.
"""

from __future__ import annotations

import bisect
import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_SUFFIX = "_kernel_time"
_RUN = "model_run"


@dataclasses.dataclass(frozen=True)
class NodeKey:
    """What tells a node of a session; names repeat, and indices do between sub-graphs."""

    name: str
    op: str
    index: str


@dataclasses.dataclass(frozen=True)
class NodeEvents:
    """A node's events in the inferences that count.

    Attributes:
        key: Which node.
        provider: The execution provider that ran it.
        dtype: Element type of its first input, empty where it has none.
        median_ns: Median of its time in an inference, without that of the bodies it runs.
        events: How many events it has in an inference, and right inside its own: so often the
            profiler's own time is part of its.
    """

    key: NodeKey
    provider: str
    dtype: str
    median_ns: float
    events: float


Event = Mapping[str, Any]


def node_events(events: Sequence[Event], inferences: int) -> list[NodeEvents]:
    """Return the nodes that ran in the last ``inferences`` runs, in the order they started.

    A node that ran several times in an inference, in a loop's body, counts with the sum.
    """
    starts = sorted(float(event["ts"]) for event in events if event["name"] == _RUN)
    starts = starts[-inferences:]
    kernels = [e for e in events if _is_kernel(e) and starts and float(e["ts"]) >= starts[0]]
    times: dict[NodeKey, dict[int, float]] = {}
    counts: dict[NodeKey, int] = {}
    seen: dict[NodeKey, Event] = {}
    for event, own_us, inside in _own_times(kernels):
        key = _key(event)
        seen.setdefault(key, event)
        run = bisect.bisect_right(starts, float(event["ts"]))
        spent = times.setdefault(key, {})
        spent[run] = spent.get(run, 0.0) + own_us
        counts[key] = counts.get(key, 0) + 1 + inside
    return [
        NodeEvents(
            key,
            str(event["args"].get("provider", "")),
            _dtype(event),
            _median_ns(times[key].values(), len(starts)),
            counts[key] / len(starts),
        )
        for key, event in seen.items()
    ]


def _is_kernel(event: Event) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX)


def _key(event: Event) -> NodeKey:
    args = event["args"]
    name = str(event["name"]).removesuffix(_SUFFIX)
    return NodeKey(name, str(args.get("op_name", "")), str(args.get("node_index", "")))


def _own_times(kernels: Iterable[Event]) -> list[tuple[Event, float, int]]:
    """Return events by start, each with its own time and the number of events right inside it.

    Its own time is its duration less theirs. Only a node with bodies has events inside it: nodes
    run one after the other.
    """
    ordered = sorted(kernels, key=lambda event: (float(event["ts"]), -float(event["dur"])))
    own = [float(event["dur"]) for event in ordered]
    inside = [0] * len(ordered)
    around: list[tuple[float, int]] = []
    for index, event in enumerate(ordered):
        start, duration = float(event["ts"]), float(event["dur"])
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            own[around[-1][1]] -= duration
            inside[around[-1][1]] += 1
        around.append((start + duration, index))
    return [
        (event, max(0.0, spent), count)
        for event, spent, count in zip(ordered, own, inside, strict=True)
    ]


def _median_ns(times_us: Iterable[float], runs: int) -> float:
    """Return the median over all runs; in those that are not there the node did not run."""
    spent = list(times_us)
    spent.extend([0.0] * (runs - len(spent)))
    # A whole number stands for the microsecond that starts with it.
    return 1e3 * statistics.median_grouped([time + 0.5 for time in spent], interval=1.0)


def _dtype(event: Event) -> str:
    shapes = event["args"].get("input_type_shape") or [{}]
    return next(iter(shapes[0]), "")
