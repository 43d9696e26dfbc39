"""Types that are written into nodes: what a Cast, a ConstantOfShape, a DequantizeLinear makes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.half_format import HalfFormat
from bmopt.graph.values import is_op


def retype_attributes(node: ir.Node, half: HalfFormat) -> None:
    """Let ``node``, whose output was float32, make half precision."""
    if is_op(node, "Cast"):
        node.attributes["to"] = ir.AttrInt64("to", int(half.dtype))
    elif is_op(node, "ConstantOfShape"):
        attribute = node.attributes.get("value")
        old = np.zeros(1, np.float32) if attribute is None else attribute.as_tensor().numpy()
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(half.saturate(old)))
    elif is_op(node, "DequantizeLinear") and node.attributes.get_int("output_dtype", 0) != 0:
        node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(half.dtype))
