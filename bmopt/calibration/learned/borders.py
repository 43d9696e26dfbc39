"""The same cuts in a float model and in the quantised one made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.learned.cutting import Unit, cut_blocks, split_alone
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.differentiable.program import unsupported
from bmopt.graph.pieces import is_constant_node, live_nodes, names_read
from bmopt.graph.products import clip_bounds
from bmopt.graph.values import is_op


class Borders:
    """Blocks of a float model and the nodes of the quantised one that they became.

    Q/DQ nodes belong to the block that computes what they read; those of weights and biases to
    the block with their product.

    Attributes:
        units: What is learned together, in order. A block with an op that torch is not given is
            split into its products.
        stored: The quantised model's nodes by name.
    """

    def __init__(self, model: ir.Model, quantized: ir.Model, plan: QuantPlan) -> None:
        self.stored = {node.name or "": node for node in quantized.graph}
        self._floats = {node.name or "": node for node in model.graph}
        self._values = {out.name or "": out for node in model.graph for out in node.outputs}
        self._activations = plan.activations
        self._moved = set(plan.moved)
        self._pairs_behind = plan.reads is None
        self._folded = set(plan.folded)
        self._order = [node for node in quantized.graph if not is_constant_node(node)]
        self._places = {node.name or "": i for i, node in enumerate(self._order)}
        self._fed = _fed(quantized.graph, self._order)
        self._fixed = [node for node in self._order if not self._is_fed(node)]
        blocks = cut_blocks(model.graph, [name for name in plan.weights if name in self._floats])
        self.units: list[Unit] = []
        for start, end, block in self._ranges(blocks):
            ops = unsupported(self._with_constants(start, end))
            self.units += split_alone(block, ops) if ops else [block]
        self._bounds = [(start, end) for start, end, _ in self._ranges(self.units)]

    @property
    def float_cuts(self) -> list[str]:
        """Names of the float nodes that end the units."""
        return [unit.nodes[-1] for unit in self.units]

    @property
    def stored_cuts(self) -> list[str]:
        """Names of the quantised model's nodes that end the units."""
        return [self._order[end - 1].name or "" for _, end in self._bounds]

    def nodes(self, index: int) -> list[ir.Node]:
        """Return the quantised model's nodes of a unit, with those of its constants."""
        start, end = self._bounds[index]
        return self._with_constants(start, end)

    def reads(self, index: int) -> list[str]:
        """Return what a unit of the quantised model reads of what was computed before it."""
        nodes = self.nodes(index)
        made = {value.name for node in nodes for value in node.outputs}
        read = dict.fromkeys(name for node in nodes for name in names_read(node))
        return [name for name in read if name not in made and name in self._fed]

    def outputs(self, index: int) -> dict[str, str]:
        """Return what a float unit computes for later ones -> the same in the quantised one."""
        found = {}
        inside = set(self.units[index].nodes)
        made = {v.name for node in self.nodes(index) for v in node.outputs}
        for name in self.units[index].nodes:
            for value in self._floats[name].outputs:
                users = {user.name or "" for user, _ in value.uses()}
                if value.is_graph_output() or users - inside:
                    mine = self._counterpart(value)
                    if mine.name in made:
                        found[value.name or ""] = mine.name or ""
        return found

    def as_stored(self, name: str, array: Array) -> Array:
        """Return what the counterpart of a float tensor would hold, but for rounding.

        It is clipped where its clip was folded, and in steps where the counterpart is of integers,
        as of a tensor that is only moved before it is read.
        """
        value = self._values[name]
        users = [user for user, _ in value.uses()]
        encoded = name
        if len(users) == 1 and (users[0].name or "") in self._folded:
            bounds = clip_bounds(users[0])
            assert bounds is not None
            array, encoded = array.clip(*bounds), users[0].outputs[0].name or ""
        if not self._holds_integers(self._counterpart(value)):
            return array
        quant = self._activations[encoded]
        steps: Array = array / np.float32(quant.scale) + np.float32(quant.zero_point)
        return steps

    def _holds_integers(self, value: ir.Value) -> bool:
        producer = value.producer()
        assert producer is not None
        return is_op(producer, "QuantizeLinear") or (producer.name or "") in self._moved

    def _counterpart(self, value: ir.Value) -> ir.Value:
        """Return the quantised model's tensor for one of the float model.

        It is the one that all readers read: behind its Q/DQ nodes where they are its producer's.
        """
        producer = value.producer()
        assert producer is not None
        if (producer.name or "") in self._folded:
            source = producer.inputs[0]
            assert source is not None
            return self._counterpart(source)
        mine = self.stored[producer.name or ""].outputs[value.index() or 0]
        for wanted in ("QuantizeLinear", "DequantizeLinear"):
            behind = [user for user, _ in mine.uses() if is_op(user, wanted)]
            if behind and (self._pairs_behind or wanted == "DequantizeLinear"):
                mine = behind[0].outputs[0]
        return mine

    def _with_constants(self, start: int, end: int) -> list[ir.Node]:
        inside = [node for node in self._order[start:end] if self._is_fed(node)]
        read = [name for node in inside for name in names_read(node)]
        return [*live_nodes(self._fixed, read), *inside]

    def _ranges(self, units: Sequence[Unit]) -> list[tuple[int, int, Unit]]:
        """Return the places of every unit's nodes in the quantised model."""
        ends = [self._end_before(unit) for unit in units[1:]]
        if units:
            ends.append(self._end_of(units[-1]))
        starts = [0, *ends[:-1]]
        return list(zip(starts, ends, units, strict=True))

    def _end_before(self, unit: Unit) -> int:
        """Return the end of what stands before a unit, without its constants' DQ nodes."""
        end = next(self._places[name] for name in unit.nodes if name in self._places)
        while end and not self._is_fed(self._order[end - 1]):
            end -= 1
        return end

    def _end_of(self, unit: Unit) -> int:
        """Return the end of the last unit, its Q/DQ nodes included."""
        last = max(self._places[name] for name in unit.nodes if name in self._places)
        end = last + 1
        while (
            end < len(self._order)
            and is_op(self._order[end], "QuantizeLinear", "DequantizeLinear")
            and self._is_fed(self._order[end])
        ):
            end += 1
        return end

    def _is_fed(self, node: ir.Node) -> bool:
        return any(value.name in self._fed for value in node.outputs)


def _fed(graph: ir.Graph, nodes: Sequence[ir.Node]) -> set[str]:
    """Return the names of the tensors that depend on what the model is fed."""
    found = {value.name or "" for value in graph.inputs if not value.is_initializer()}
    for node in nodes:
        if any(name in found for name in names_read(node)):
            found.update(value.name or "" for value in node.outputs)
    return found
