"""Profiles made by hand, of a network whose nodes are named after their outputs."""

from __future__ import annotations

from bmopt.core.profile import LayerProfile, LayerTime


def layer(node: str, ns: float, *nodes: str, op: str = "Conv", dtype: str = "float") -> LayerTime:
    return LayerTime(node, op, "CPU", dtype, nodes, ns, ns + 5000.0)


def profile(*layers: LayerTime, wall_ns: float = 100_000.0) -> LayerProfile:
    return LayerProfile(
        engine="scripted",
        threads=1,
        inferences=10,
        layers=layers,
        wall_ns=wall_ns,
        profiled_wall_ns=2 * wall_ns,
        event_ns=5000.0,
        call_ns=1000.0,
    )
