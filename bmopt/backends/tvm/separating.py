"""A Q/DQ graph cut at every quantised tensor, to see what each kernel alone computes.

In a whole network, one step of difference in one layer moves values of all layers behind it, so
that the results do not tell whether kernels round as the graph says.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array, is_op

_FED = "bmopt_fed"


@dataclasses.dataclass(frozen=True)
class Cut:
    """A tensor at which a graph is cut.

    Attributes:
        tensor: Name of the quantised tensor, an output of both graphs.
        fed: Name of the input of the cut graph that takes its place, in float.
        scale: Its scale.
        zero: Its zero point.
    """

    tensor: str
    fed: str
    scale: float
    zero: int


@dataclasses.dataclass(frozen=True)
class Separated:
    """Two graphs with every quantised activation as an output.

    Attributes:
        whole: The graph; its quantised activations are outputs behind its own.
        parts: The graph in parts: what is read of a quantised activation is fed.
        cuts: The activations, in the graph's order.
    """

    whole: ir.Model
    parts: ir.Model
    cuts: tuple[Cut, ...]


def separate(model: ir.Model) -> Separated:
    """Cut a Q/DQ graph, which is not changed, at the results of its QuantizeLinear nodes.

    Those of one constant scale and zero point are taken. Feed ``(steps - zero) * scale`` of what
    the whole graph has for a tensor: quantising that gives the same steps again.
    """
    whole, parts = model.clone(), model.clone()
    for one in (whole, parts):
        ShapeInferencePass()(one)
    for node in _quantising(whole):
        if not node.outputs[0].is_graph_output():
            whole.graph.outputs.append(node.outputs[0])
    cuts = tuple(_cut(parts.graph, node, i) for i, node in enumerate(_quantising(parts)))
    return Separated(whole, parts, cuts)


def _quantising(model: ir.Model) -> list[ir.Node]:
    return [
        node
        for node in model.graph
        if is_op(node, "QuantizeLinear")
        and _constants(node) is not None
        and node.inputs[0] is not None
        and node.inputs[0].const_value is None
    ]


def _constants(node: ir.Node) -> tuple[Array, Array] | None:
    """Return scale and zero point, None where they are not one constant each."""
    scale = constant_array(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros((), np.uint8) if given is None else constant_array(given)
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return scale.reshape(()), zero.reshape(())


def _cut(graph: ir.Graph, node: ir.Node, index: int) -> Cut:
    found = _constants(node)
    assert found is not None
    scale, zero = found
    (tensor,) = node.outputs
    name = f"{_FED}_{index}"
    fed = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(ir.DataType.FLOAT))
    again = ir.Value(name=f"{name}_quantised", shape=tensor.shape, type=tensor.type)
    is_output = tensor.is_graph_output()
    tensor.replace_all_uses_with(again)
    constants = [
        _constant(graph, f"{name}_scale", scale),
        _constant(graph, f"{name}_zero", zero),
    ]
    quantising = ir.Node(
        "", "QuantizeLinear", [fed, *constants], outputs=[again], name=f"{name}_quantising"
    )
    graph.insert_before(next(iter(graph)), quantising)
    graph.inputs.append(fed)
    if not is_output:
        graph.outputs.append(tensor)
    return Cut(tensor.name or "", name, float(scale), int(zero))


def _constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value
