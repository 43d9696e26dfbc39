"""Apply a quantisation plan: put Q/DQ pairs where it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import ClassVar

import onnx_ir as ir

from bmopt.core.plan import ActivationQuant, QuantPlan
from bmopt.errors import QuantizationError
from bmopt.graph.origin import merge_origin
from bmopt.optimizer.float_readers import keep_readers_in_float
from bmopt.optimizer.pass_base import Effect, Outcome, Pass
from bmopt.optimizer.qdq import QdqWriter
from bmopt.optimizer.rewrite import remove_dead, remove_unused_initializers, replace_output

_FLOAT8_OPSET = 19
_Readers = dict[str, list[tuple[ir.Node, int]]]


@dataclasses.dataclass(frozen=True)
class Quantize(Pass):
    """Rewrite the nodes that a plan lists so that an engine runs them in integers.

    1. Folded activation nodes go: the encoding of their output clips alike.
    2. Every activation of the plan gets one Q/DQ pair. Behind an integer node all readers read
       the pair; elsewhere only integer nodes do. A plan that lists ``reads`` names every reader.
    3. Weights are stored in 8 bits behind a DQ; biases, where the plan has them, as int32 at
       input scale times weight scale.
    4. Movers (reshapes, pools, pads ...) work on the integers themselves.
    5. Products that stay in float read their integers through a DQ of their own kind, which the
       CPU provider does not take for a wish to have their weights in integers too.
    6. Float weights that nothing reads any more are removed.

    A model that the plan was applied to already is not modified.
    """

    name: ClassVar[str] = "quantize"
    effect: ClassVar[Effect] = "lossy"

    plan: QuantPlan

    def call(self, model: ir.Model) -> Outcome:
        """Quantise the main graph in place.

        Raises:
            QuantizationError: The plan names a node or tensor that the model has not, or wants
                float8 of an older opset.
        """
        nodes = {node.name or "": node for node in model.graph}
        _require_known(self.plan.integer, nodes)
        if not self.plan.integer or _is_applied(nodes, self.plan):
            return Outcome(model, modified=False)
        _require_known([*self.plan.folded, *self.plan.weights, *self.plan.moved], nodes)
        _require_known(self.plan.activations, _values(model.graph))
        _require_opset(model, self.plan)
        for name in self.plan.folded:
            _fold_clip(nodes[name])
        integer = [nodes[name] for name in self.plan.integer]
        readers = _readers(self.plan, nodes)
        writer = QdqWriter(model.graph)
        constants = []
        for name, quant in self.plan.weights.items():
            source = nodes[name].inputs[0]
            assert source is not None
            constants += [v.producer() for v in nodes[name].inputs[1:] if v is not None]
            scale = self.plan.activations[source.name or ""].scale
            writer.quantize_weight(nodes[name], quant, scale)
        remove_dead(node for node in constants if node is not None)
        if self.plan.reads is None:
            _quantize_activations(model.graph, self.plan.activations, integer, writer)
            keep_readers_in_float(model)
        else:
            _quantize_reads(self.plan.activations, readers, writer)
        for name in self.plan.moved:
            writer.move_integers(nodes[name])
        remove_unused_initializers(model)
        return Outcome(model, modified=True)


def _require_known(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise QuantizationError(
                f"the quantisation plan names {name!r}, which the model has not; "
                "it was made for another model"
            )


def _require_opset(model: ir.Model, plan: QuantPlan) -> None:
    kinds = {quant.dtype for quant in plan.activations.values()}
    kinds |= {quant.dtype for quant in plan.weights.values()}
    version = model.opset_imports.get("", 0)
    if "float8e4m3fn" in kinds and version < _FLOAT8_OPSET:
        raise QuantizationError(
            f"float8 needs opset {_FLOAT8_OPSET}, the model has {version}; raise it first"
        )


def _readers(plan: QuantPlan, nodes: dict[str, ir.Node]) -> _Readers:
    """Return the readers that the plan lists, by the name of what they read."""
    found: _Readers = {}
    for name, reads in (plan.reads or {}).items():
        _require_known([name], nodes)
        for index in reads:
            inputs = nodes[name].inputs
            value = inputs[index] if 0 <= index < len(inputs) else None
            if value is None or value.name not in plan.activations:
                raise QuantizationError(
                    f"the quantisation plan has no scale for input {index} of {name!r}; "
                    "it was made for another model"
                )
            found.setdefault(value.name or "", []).append((nodes[name], index))
    return found


def _quantize_reads(
    encodings: Mapping[str, ActivationQuant], readers: _Readers, writer: QdqWriter
) -> None:
    for name, quant in encodings.items():
        if uses := readers.get(name):
            value = uses[0][0].inputs[uses[0][1]]
            assert value is not None
            writer.pair_for(value, quant, uses)


def _values(graph: ir.Graph) -> dict[str, ir.Value]:
    values = {value.name or "": value for value in graph.inputs}
    return values | {out.name or "": out for node in graph for out in node.outputs}


def _is_applied(nodes: dict[str, ir.Node], plan: QuantPlan) -> bool:
    """Whether the first node of the plan already reads a DQ, or integers."""
    first = plan.integer[0]
    index = 0 if plan.reads is None else min(plan.reads.get(first, ()), default=0)
    value = nodes[first].inputs[index] if index < len(nodes[first].inputs) else None
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type in ("QuantizeLinear", "DequantizeLinear")


def _fold_clip(clip: ir.Node) -> None:
    source, result = clip.inputs[0], clip.outputs[0]
    assert source is not None
    producer = source.producer()
    assert producer is not None
    merge_origin(producer, [clip])
    name = result.name
    replace_output(result, source)
    result.name = f"{name}__folded"
    source.name = name
    remove_dead([clip])


def _quantize_activations(
    graph: ir.Graph,
    encodings: Mapping[str, ActivationQuant],
    integer: list[ir.Node],
    writer: QdqWriter,
) -> None:
    values = _values(graph)
    members = set(integer)
    for name, quant in encodings.items():
        value = values[name]
        producer = value.producer()
        if producer is not None and producer in members:
            writer.pair_behind(value, quant, producer)
        else:
            readers = [use for use in value.uses() if use.node in members]
            writer.pair_for(value, quant, [(use.node, use.idx) for use in readers])
