"""Costs of layers from profiles that a stand-in for the profiler makes up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.graph.channels.counting import counts_of
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.model_io import load_model
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.workflow.progress import Quiet
from bmopt.workflow.pruning.latency_cost import Forms, LatencyCost, Widths, latency_costs
from tests.calibration.pruning.nets import RESIDUAL, net
from tests.graph.channels.random_graphs import picture_net

QUICK = "quick"


@dataclasses.dataclass
class Profiler:
    """Takes ``of(output channels)`` nanoseconds for every convolution, a tenth in quick models."""

    of: Callable[[int], float]

    def __call__(self, path: Path, seconds: float) -> LayerProfile:
        del seconds
        model = load_model(path)
        InferShapes()(model)
        share = 0.1 if model.doc_string == QUICK else 1.0
        layers = [
            LayerTime(str(node.name), node.op_type, "cpu", "float", (str(node.name),), ns, ns)
            for node in model.graph
            if node.op_type == "Conv"
            for ns in [share * self.of(width_of(node))]
        ]
        return LayerProfile("made up", 1, 1, tuple(layers), 1.0, 1.0, 0.0, 0.0)


def every_node(path: Path, seconds: float) -> LayerProfile:
    """Return a profile in which each node takes 100 ns."""
    del seconds
    layers = tuple(
        LayerTime(str(node.name), node.op_type, "cpu", "float", (str(node.name),), 100.0, 100.0)
        for node in load_model(path).graph
    )
    return LayerProfile("made up", 1, 1, layers, 1.0, 1.0, 0.0, 0.0)


def width_of(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    assert shape is not None
    return int(str(shape[1]))


def widths(forms: Forms | None = None) -> Widths:
    model = picture_net(["conv"], 3)
    channels = channels_of(model)
    return Widths(model, channels, counts_of(model, channels), forms or (lambda one: [one]))


def costs_of(found: Widths, of: Callable[[int], float]) -> dict[int, LatencyCost]:
    costs = latency_costs(found, Profiler(of), seconds=1.0, progress=Quiet())
    return {cost.unit: cost for cost in costs}


def sizes_of(found: Widths) -> dict[str, int]:
    return {group.name: group.size for group in found.channels.groups if not group.reason}


def test_a_layer_that_takes_as_long_as_its_channels_is_known_at_any_width() -> None:
    found = widths()
    cost = costs_of(found, lambda out: 100.0 + 10.0 * out)[1]
    sizes = sizes_of(found)
    assert cost({}) == pytest.approx(sum(100.0 + 10.0 * size for size in sizes.values()))
    half = {name: size // 2 for name, size in sizes.items()}
    assert cost(half) == pytest.approx(
        sum(100.0 + 10.0 * count for count in half.values()), rel=0.2
    )


def test_widths_that_a_kernel_dislikes_do_not_spoil_those_that_it_likes() -> None:
    found = widths()
    costs = costs_of(found, lambda out: 10.0 * out if out % 4 == 0 else 1000.0)
    smaller = {name: max(4, size // 2 // 4 * 4) for name, size in sizes_of(found).items()}
    assert costs[4](smaller) < 100.0 * len(smaller)
    assert costs[1](dict.fromkeys(smaller, 3)) > 900.0


def test_a_layer_may_stay_in_the_form_that_it_is_faster_in() -> None:
    def forms(model: ir.Model) -> list[ir.Model]:
        quick = model.clone()
        quick.doc_string = QUICK
        return [model, quick]

    (once, twice) = (
        costs_of(one, lambda out: 10.0 * out)[1]({}) for one in (widths(), widths(forms))
    )
    assert twice == pytest.approx(once / 10.0)


def test_all_kernels_of_a_branch_go_with_it() -> None:
    model = net(RESIDUAL)
    channels = channels_of(model)
    found = Widths(model, channels, counts_of(model, channels), lambda one: [one])
    cost, *_ = latency_costs(found, every_node, seconds=1.0, progress=Quiet())
    assert cost({}) == pytest.approx(100.0 * len(list(model.graph)))
    assert cost({}) - cost({"c1": 0}) == pytest.approx(400.0)  # c1, r1, c2 and the sum
    assert cost({}) - cost({"c1": 1}) == pytest.approx(0.0)
