"""A Reshape to a matrix behind a dense layer moves before it, so that the layer can be a Gemm."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_tensor, is_op, only_consumer, producer_of, static_shape
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import add_constant, new_node, remove_dead, replace_output, root_graph
from bmopt.optimizer.shapes.values import nodes_in_order

_ELEMENTWISE = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Clip", "HardSigmoid", "Softplus")


@dataclasses.dataclass(frozen=True)
class HoistReshapes(Pass):
    """Move ``Reshape`` up through ``activation(x @ W + b)`` where it keeps the last axis.

    ``W`` is a constant matrix and ``b`` a constant vector, the activation works element by
    element. The product is then one of matrices, which ``fuse-matmul-add`` makes a Gemm. No
    node is added or removed. Refuses results that have other readers, and unknown shapes.
    """

    name: ClassVar[str] = "hoist-reshapes"

    def call(self, model: ir.Model) -> Outcome:
        """Move in one sweep."""
        refusals: list[Refusal] = []
        modified = False
        for node in nodes_in_order(model.graph):
            chain = _dense_chain(node) if is_op(node, "Reshape", "Flatten", "Squeeze") else None
            if chain is None:
                continue
            shape = _matrix_shape(node, chain[-1])
            if shape is None:
                refusals.append(Refusal(node.name or "", "does not keep the last axis"))
                continue
            _hoist(node, chain, shape)
            modified = True
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _dense_chain(reshape: ir.Node) -> list[ir.Node] | None:
    """Return the nodes from the one that ``reshape`` reads up to the MatMul, else None."""
    chain: list[ir.Node] = []
    value = reshape.inputs[0]
    activation = producer_of(value, *_ELEMENTWISE)
    if activation is not None:
        chain.append(activation)
        value = activation.inputs[0]
    bias = producer_of(value, "Add")
    product = None if bias is None else _product_under(bias)
    if bias is None or product is None:
        return None
    chain.extend((bias, product))
    readers = [reshape, *chain[:-1]]
    pairs = zip(chain, readers, strict=True)
    return chain if all(only_consumer(n.outputs[0]) is r for n, r in pairs) else None


def _product_under(bias: ir.Node) -> ir.Node | None:
    for value, other in (bias.inputs, bias.inputs[::-1]):
        product, shape = producer_of(value, "MatMul"), static_shape(other)
        if product is None or constant_tensor(other) is None or shape is None or len(shape) != 1:
            continue
        weight = static_shape(product.inputs[1])
        constant = constant_tensor(product.inputs[1]) is not None
        return product if constant and weight is not None and len(weight) == 2 else None
    return None


def _matrix_shape(reshape: ir.Node, product: ir.Node) -> tuple[int, int] | None:
    """Return the shape of the product's data once the Reshape comes first, else None."""
    before, after = static_shape(product.outputs[0]), static_shape(reshape.outputs[0])
    data = static_shape(product.inputs[0])
    if before is None or after is None or data is None or len(after) != 2 or len(before) < 3:
        return None
    return (after[0], data[-1]) if before[-1] == after[-1] else None


def _hoist(reshape: ir.Node, chain: list[ir.Node], shape: tuple[int, int]) -> None:
    product = chain[-1]
    target = add_constant(root_graph(product), "target", np.array(shape, np.int64))
    moved = new_node("Reshape", [product.inputs[0], target], like=product)
    merge_origin(moved, [reshape])
    moved.outputs[0].shape = ir.Shape(shape)
    moved.outputs[0].type = product.outputs[0].type
    product.replace_input_with(0, moved.outputs[0])
    for node in chain:
        node.outputs[0].shape = reshape.outputs[0].shape
    replace_output(reshape.outputs[0], chain[0].outputs[0])
    remove_dead([reshape])
