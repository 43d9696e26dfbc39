"""How far an output moves where a value that it is computed from moves by a quantisation step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import constant_tensor

_KEEPING = frozenset(
    {
        *("AveragePool", "Cast", "Clip", "Flatten", "Gather", "GlobalAveragePool", "Identity"),
        *("LeakyRelu", "MaxPool", "Pad", "ReduceMax", "ReduceMean", "Relu", "Reshape", "Resize"),
        *("Sigmoid", "Slice", "Softmax", "Split", "Squeeze", "Tanh", "TopK", "Transpose"),
        "Unsqueeze",
    }
)
"""Ops whose result moves by no more than their first input does."""

_COARSEST = {ir.DataType.FLOAT8E4M3FN: 32.0, ir.DataType.FLOAT8E5M2: 8192.0}
"""Element type whose steps are of several sizes -> the largest of them, in units of the scale."""

_JOINING = frozenset({"Add", "Concat", "Max", "Min", "Sub", "Sum", "Where"})
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def output_steps(model: ir.Model) -> dict[str, float]:
    """Return output name -> its step, of the outputs that are computed from quantised values.

    A value out of a DequantizeLinear has that node's scale for a step (float8: the step of the
    largest numbers), one out of a QuantizeLinear 1. Behind a product, the step is the largest
    move of an element where one element of the quantised input moves by its step: the step times
    the largest weight. Where an op in between gives no such bound, the output is left out.
    """
    steps: dict[ir.Value, float] = {}
    for node in model.graph:
        step = _step(node, steps)
        if step is not None and np.isfinite(step) and step > 0:
            # The others of MaxPool and TopK are indices.
            steps.update(
                dict.fromkeys(node.outputs[: None if node.op_type == "Split" else 1], step)
            )
    return {str(value.name): steps[value] for value in model.graph.outputs if value in steps}


def _step(node: ir.Node, steps: Mapping[ir.Value, float]) -> float | None:
    inputs = [value for value in node.inputs if value is not None]
    known = [steps[value] for value in inputs if value in steps]
    if node.op_type == "QuantizeLinear":
        return 1.0
    if node.op_type == "DequantizeLinear":
        scale = None if constant_tensor(inputs[0]) is not None else _largest(inputs[1])
        return None if scale is None else scale * _coarsest(inputs)
    if not known:
        return None
    if node.op_type in _KEEPING:
        return steps.get(inputs[0])
    if node.op_type in _JOINING:
        return max(known)
    if node.op_type in _PRODUCTS or node.op_type == "Mul":
        return _product(inputs, steps)
    return None


def _coarsest(inputs: list[ir.Value]) -> float:
    """Return the largest step of a DequantizeLinear's quantised numbers."""
    zero = constant_tensor(inputs[2]) if len(inputs) > 2 else None
    dtypes = [inputs[0].dtype, None if zero is None else zero.dtype]
    return next((_COARSEST[dtype] for dtype in dtypes if dtype in _COARSEST), 1.0)


def _product(inputs: list[ir.Value], steps: Mapping[ir.Value, float]) -> float | None:
    """Return the step of one factor times the largest element of the other, a constant."""
    for own, other in ((0, 1), (1, 0)):
        largest = _largest(inputs[other])
        if inputs[own] in steps and largest is not None:
            return steps[inputs[own]] * largest
    return None


def _largest(value: ir.Value) -> float | None:
    """Return the largest magnitude in a constant, dequantised where it is quantised."""
    tensor = constant_tensor(value)
    if tensor is not None:
        array = np.asarray(tensor.numpy())
        return float(np.abs(array.astype(np.float64)).max()) if array.size else None
    producer = value.producer()
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    parts = [None if part is None else constant_tensor(part) for part in producer.inputs]
    if any(part is None for part in parts[:2]):
        return None
    stored, scale, *zero = (np.asarray(part.numpy(), np.float64) for part in parts if part)
    offset = float(np.abs(zero[0]).max()) if zero and zero[0].size else 0.0
    return float((np.abs(stored).max() + offset) * np.abs(scale).max()) if stored.size else None
