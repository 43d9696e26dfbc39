"""Relu and Clip nodes that a quantiser left to the saturation of an encoding.

ONNX Runtime's quantiser, for one, removes a Relu where the integers behind it start at 0. In a
float model, or with symmetric integers, the Relu is needed again.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.core.imported import ImportedRange
from bmopt.graph.products import clip_bounds
from bmopt.graph.values import is_op
from bmopt.optimizer.rewrite import opset

_NEVER_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt")
_KEEPS_SIGN = (
    "Add",
    "AveragePool",
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "Mul",
    "ReduceMean",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Sum",
    "Transpose",
    "Unsqueeze",
)
_SEVERAL_DATA_INPUTS = ("Add", "Concat", "Mul", "Sum")
_DEEPEST = 32
_SIX = 6.0


def implied_clip(real: ir.Value, encoding: ImportedRange, model: ir.Model) -> str | None:
    """Return the op that saturating ``real`` to ``encoding`` stands for, None where for none.

    That is ``"Relu"``, or ``"Clip"`` for one from 0 to 6. Model inputs are what they are.
    """
    if encoding.low != 0.0 or real.producer() is None or _never_negative(real, 0):
        return None
    six = math.isclose(encoding.high, _SIX, rel_tol=1e-6)
    return "Clip" if six and opset(model) >= 11 else "Relu"


def _never_negative(value: ir.Value | None, depth: int) -> bool:
    node = None if value is None else value.producer()
    if node is None or depth > _DEEPEST:
        return False
    if is_op(node, *_NEVER_NEGATIVE):
        return True
    if is_op(node, "Clip"):
        bounds = clip_bounds(node)
        return bounds is not None and bounds[0] >= 0.0
    if not is_op(node, *_KEEPS_SIGN):
        return False
    data = node.inputs if is_op(node, *_SEVERAL_DATA_INPUTS) else node.inputs[:1]
    return all(_never_negative(read, depth + 1) for read in data)
