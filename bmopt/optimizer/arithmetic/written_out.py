"""Functions that a model writes out in primitive ops, so that other passes leave them whole."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from bmopt.graph.values import is_op, only_consumer
from bmopt.optimizer.arithmetic.activations import Activation, activation_at
from bmopt.optimizer.arithmetic.layer_norms import LayerNorm, layer_norm_at
from bmopt.optimizer.rewrite import all_graphs


def functions_of(model: ir.Model) -> Iterator[LayerNorm | Activation]:
    """Yield every layer normalisation and activation that ``model`` writes out."""
    for graph in all_graphs(model):
        for node in graph:
            found = layer_norm_at(node) or activation_at(node)
            if found is not None:
                yield found


def nodes_of_functions(model: ir.Model) -> frozenset[ir.Node]:
    """Return the nodes of those functions, and a layer normalisation's scale and bias.

    Engines fuse such patterns by themselves, so their constants must stay where they are until
    the opset allows one op for them.
    """
    nodes: set[ir.Node] = set()
    for function in functions_of(model):
        nodes.update(function.nodes)
        if isinstance(function, LayerNorm):
            nodes.update(_scale_and_bias(function.normalized))
    return frozenset(nodes)


def _scale_and_bias(node: ir.Node) -> Iterator[ir.Node]:
    for op_type in ("Mul", "Add"):
        step = only_consumer(node.outputs[0])
        if step is not None and is_op(step, op_type):
            yield step
            node = step
