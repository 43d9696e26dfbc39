"""Write QuantizeLinear and DequantizeLinear nodes into a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bmopt.core.plan import ActivationQuant, WeightQuant
from bmopt.core.runner import Array
from bmopt.graph.origin import merge_origin
from bmopt.graph.products import Product, product_of
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.rewrite import add_constant, fresh_name


class QdqWriter:
    """Inserts Q/DQ nodes into one graph and shares their constants."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._constants: dict[tuple[str, bytes], ir.Value] = {}
        self._weights: dict[tuple[str, WeightQuant], ir.Value] = {}

    def pair_behind(self, value: ir.Value, quant: ActivationQuant, producer: ir.Node) -> None:
        """Put Q/DQ behind ``value``; every reader and the graph's output get the DQ's result."""
        name = value.name or ""
        quantize, dequantize = self._pair(value, quant, producer)
        self._graph.insert_after(producer, [quantize, dequantize])
        result = dequantize.outputs[0]
        if value.is_graph_output():
            value.name = fresh_name(self._graph, f"{name}_float")
            result.name = name
        value.replace_all_uses_with(result, replace_graph_outputs=True)
        quantize.replace_input_with(0, value)

    def pair_for(
        self, value: ir.Value, quant: ActivationQuant, readers: Sequence[tuple[ir.Node, int]]
    ) -> None:
        """Put Q/DQ on ``value`` for some of its readers only, given as (node, input index)."""
        if not readers:
            return
        nodes = self._pair(value, quant, readers[0][0])
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], list(nodes))
        else:
            self._graph.insert_after(producer, list(nodes))
        for node, index in readers:
            node.replace_input_with(index, nodes[1].outputs[0])

    def quantize_weight(self, node: ir.Node, quant: WeightQuant, input_scale: float) -> None:
        """Store the node's weight (and bias) in integers behind a DQ."""
        product = product_of(node)
        assert product is not None
        weight = node.inputs[quant.input]
        assert weight is not None
        key = (weight.name or "", quant)
        if key not in self._weights:
            self._weights[key] = self._stored_weight(node, weight, quant)
        node.replace_input_with(quant.input, self._weights[key])
        if quant.bias is not None:
            self._quantize_bias(product, quant, input_scale)

    def move_integers(self, node: ir.Node) -> None:
        """Let a node that only moves values do so between Q and DQ."""
        before, after = node.inputs[0], node.outputs[0]
        assert before is not None
        source = before.producer()
        assert source is not None
        quantize = next(user for user, _ in after.uses() if is_op(user, "QuantizeLinear"))
        stored = quantize.outputs[0]
        node.replace_input_with(0, source.inputs[0])
        after.type = stored.type
        stored.replace_all_uses_with(after)
        zero_point = quantize.inputs[2]
        self._graph.remove(quantize, safe=True)
        after.name, stored.name = stored.name, after.name
        if is_op(node, "Pad") and node.attributes.get_string("mode", "constant") == "constant":
            if len(node.inputs) < 3:
                node.resize_inputs(3)
            node.replace_input_with(2, zero_point)
        if not source.outputs[0].uses() and not source.outputs[0].is_graph_output():
            self._graph.remove(source, safe=True)

    def _pair(
        self, value: ir.Value, quant: ActivationQuant, origin: ir.Node
    ) -> tuple[ir.Node, ir.Node]:
        name = value.name or "tensor"
        scale = self._constant(f"{name}_scale", np.array(quant.scale, np.float32))
        dtype = _stored_type(quant.dtype)
        zero = self._constant(f"{name}_zero_point", np.array(quant.zero_point, dtype))
        quantize = self._node("QuantizeLinear", [value, scale, zero], f"{name}_quantized", origin)
        quantize.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(dtype))
        stored = quantize.outputs[0]
        dequantize = self._node(
            "DequantizeLinear", [stored, scale, zero], f"{name}_dequantized", origin
        )
        dequantize.outputs[0].type = value.type
        for node in (quantize, dequantize):
            node.outputs[0].shape = value.shape
        return quantize, dequantize

    def _stored_weight(self, node: ir.Node, weight: ir.Value, quant: WeightQuant) -> ir.Value:
        array = constant_array(weight)
        assert array is not None
        scales = np.array(quant.scales, np.float32)
        spread = scales if quant.axis is None else _along(scales, quant.axis, array.ndim)
        dtype = _stored_type(quant.dtype)
        steps = (array / spread).clip(-quant.limit, quant.limit)
        middle = 128 if quant.dtype == "uint8" else 0
        # float8 has steps of its own, to which the conversion rounds.
        if np.issubdtype(dtype, np.integer):
            steps = np.rint(steps).clip(None, np.iinfo(dtype).max - middle) + middle
        stored = steps.astype(dtype)
        zeros = np.full(scales.shape, middle, dtype)
        return self._dequantized(node, weight.name or "weight", stored, scales, zeros, quant.axis)

    def _quantize_bias(self, product: Product, quant: WeightQuant, input_scale: float) -> None:
        assert quant.bias is not None
        node = product.node
        value = node.inputs[quant.bias]
        array = constant_array(value)
        assert array is not None
        assert value is not None
        scales = np.float32(input_scale) * np.array(quant.scales, np.float32)
        bias = np.broadcast_to(array.reshape(-1), (product.channels,))
        bound = np.iinfo(np.int32)
        stored = np.rint(bias.astype(np.float64) / scales).clip(bound.min, bound.max)
        result = self._dequantized(
            node,
            value.name or "bias",
            stored.astype(np.int32),
            scales,
            np.zeros(scales.shape, np.int32),
            None if quant.axis is None else 0,
        )
        node.replace_input_with(quant.bias, result)

    def _dequantized(
        self,
        node: ir.Node,
        name: str,
        stored: Array,
        scales: Array,
        zeros: Array,
        axis: int | None,
    ) -> ir.Value:
        if axis is None:
            scales, zeros = scales.reshape(()), zeros.reshape(())
        inputs = [
            add_constant(self._graph, f"{name}_quantized", stored),
            self._constant(f"{name}_scale", scales),
            self._constant(f"{name}_zero_point", zeros),
        ]
        result = self._node("DequantizeLinear", inputs, f"{name}_dequantized", node)
        if axis is not None:
            result.attributes["axis"] = ir.AttrInt64("axis", axis)
        self._graph.insert_before(node, result)
        result.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        result.outputs[0].shape = ir.Shape(stored.shape)
        return result.outputs[0]

    def _constant(self, stem: str, array: Array) -> ir.Value:
        key = (f"{array.dtype}{array.shape}", array.tobytes())
        if key not in self._constants:
            self._constants[key] = add_constant(self._graph, stem, array)
        return self._constants[key]

    def _node(
        self, op_type: str, inputs: Sequence[ir.Value | None], output: str, origin: ir.Node
    ) -> ir.Node:
        name = fresh_name(self._graph, output)
        node = ir.node(op_type, list(inputs), name=fresh_name(self._graph, f"{name}_{op_type}"))
        node.outputs[0].name = name
        merge_origin(node, [origin])
        return node


def _stored_type(name: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.float8_e4m3fn if name == "float8e4m3fn" else name)


def _along(scales: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    shape[axis] = -1
    return scales.reshape(shape)
