"""Costs of layers from profiles that a stand-in for the profiler makes up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.graph.channels.counting import counts_of
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.model_io import load_model
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.workflow.progress import Quiet
from bmopt.workflow.pruning.latency_cost import Widths, latency_cost
from tests.graph.channels.random_graphs import picture_net


@dataclasses.dataclass
class Profiler:
    """Takes ``of(output channels)`` nanoseconds for every convolution."""

    of: Callable[[int], float]

    def profile_graph(
        self, path: Path, feeds: Sequence[object], *, threads: int, seconds: float
    ) -> LayerProfile:
        del feeds, threads, seconds
        model = load_model(path)
        InferShapes()(model)
        layers = [
            LayerTime(str(node.name), node.op_type, "cpu", "float", (str(node.name),), ns, ns)
            for node in model.graph
            if node.op_type == "Conv"
            for ns in [self.of(int(node.outputs[0].shape[1]))]  # type: ignore[index, arg-type]
        ]
        return LayerProfile("made up", 1, 1, tuple(layers), 1.0, 1.0, 0.0, 0.0)


def widths() -> Widths:
    model = picture_net(["conv"], 3)
    channels = channels_of(model)
    return Widths(model, channels, counts_of(model, channels))


@pytest.mark.parametrize("unit", [1, 4])
def test_the_unit_that_explains_the_times_is_found(unit: int) -> None:
    found = widths()
    sizes = {group.name: group.size for group in found.channels.groups if not group.reason}
    cost = latency_cost(
        found,
        Profiler(lambda out: 100.0 + 10.0 * (-(-out // unit) * unit)),  # type: ignore[arg-type]
        [],
        threads=1,
        seconds=1.0,
        progress=Quiet(),
    )
    assert cost({}) == pytest.approx(
        sum(100.0 + 10.0 * -(-size // unit) * unit for size in sizes.values()), rel=0.35
    )
    smaller = {name: size // 2 for name, size in sizes.items()}
    assert cost(smaller) < cost({})
    assert all(np.isfinite([one.start_ns, one.mac_ns]).all() for one in cost.layers.values())
