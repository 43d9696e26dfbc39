"""How long each kernel of an engine takes, as the engine's own profiler tells it.

A profiler slows down what it watches: on kernels of a few microseconds, what it writes about one
takes longer than the kernel. A profile therefore has the latency of an inference without the
profiler too, and says what was taken off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class LayerTime:
    """One kernel of the engine.

    Attributes:
        node: The engine's name for it.
        op: Its op or type of kernel.
        provider: What ran it.
        dtype: Element type that it computes on, lower case as ONNX writes it (``"float"``,
            ``"uint8"``); empty where the engine does not tell.
        nodes: Names of the nodes of the graph given to the engine that it stands for; empty where
            none is known.
        ns: Its time in one inference, the profiler's share taken off.
        profiled_ns: Its time as the profiler tells it.
        schedule: How its loops are arranged, and where that comes from; empty where the engine
            does not tell.
    """

    node: str
    op: str
    provider: str
    dtype: str
    nodes: tuple[str, ...]
    ns: float
    profiled_ns: float
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class LayerProfile:
    """The kernels of an engine in the order they run, each with its median over the inferences.

    On a busy host the medians add up to less than the latency, whose median has an interruption
    somewhere in it while that of no kernel has.

    Attributes:
        engine: Name of the engine.
        threads: Threads it was given; 0 let it choose.
        inferences: How many inferences with the profiler the times come from.
        layers: The kernels.
        wall_ns: Median latency of an inference without the profiler, taken in turns with those
            that have it.
        profiled_wall_ns: Median latency of an inference with the profiler.
        event_ns: Taken off every kernel's time as the profiler's own.
        call_ns: Latency of an inference with nothing to compute.
    """

    engine: str
    threads: int
    inferences: int
    layers: tuple[LayerTime, ...]
    wall_ns: float
    profiled_wall_ns: float
    event_ns: float
    call_ns: float

    @property
    def layers_ns(self) -> float:
        """The kernels' times together."""
        return sum(layer.ns for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as a JSON value."""
        return {**dataclasses.asdict(self), "layers_ns": self.layers_ns}


def quickest(profiles: Sequence[LayerProfile]) -> LayerProfile:
    """Return the profile of one model with every kernel's shortest time: other load only adds."""
    times: dict[tuple[str, str, int], LayerTime] = {}
    for profile in profiles:
        count: dict[tuple[str, str], int] = {}
        for layer in profile.layers:
            name = (layer.node, layer.op)
            key = (*name, count.setdefault(name, 0))
            count[name] += 1
            times[key] = min(times.get(key, layer), layer, key=lambda one: one.ns)
    first = min(profiles, key=lambda profile: profile.wall_ns)
    return dataclasses.replace(first, layers=tuple(times.values()))
