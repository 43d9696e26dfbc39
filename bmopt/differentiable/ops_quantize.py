"""Q and DQ in torch: integers are kept as real numbers, and gradients pass the rounding.

The straight-through estimator: a rounded value has the gradient of the one that was rounded, and
none where it is clipped.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.differentiable.call import Call, Op, has_input, with_constants
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.graph.values import constant_tensor

_BOUNDS = {ir.DataType.UINT8: (0, 255), ir.DataType.INT8: (-128, 127)}


def steps_of(torch: Torch, array: Array) -> Tensor:
    """Return a constant in torch; whole numbers become float32, as all that is read here."""
    return torch.from_numpy(np.array(array, np.float32))


def _quantize(call: Call) -> Tensor:
    x, scale, zero = _operands(call)
    low, high = _BOUNDS[_stored_type(call.node)]
    steps = x.float() / scale  # in half precision, halves would be rounded elsewhere
    rounded = steps + (steps.round() - steps).detach()
    return (rounded + zero).clamp(low, high)


def _dequantize(call: Call) -> Tensor:
    x, scale, zero = _operands(call)
    return (x - zero) * scale


def _operands(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    x, scale, *rest = call.inputs
    assert x is not None
    assert scale is not None
    zero = rest[0] if rest and rest[0] is not None else call.torch.zeros((), device=x.device)
    if scale.dim() == 1 and scale.numel() > 1:
        shape = [1] * x.dim()
        shape[call.integer("axis", 1)] = -1
        scale = scale.reshape(shape)
        zero = zero.reshape(shape) if zero.numel() > 1 else zero
    return x, scale, zero


def _stored_type(node: ir.Node) -> ir.DataType:
    zero = constant_tensor(node.inputs[2]) if has_input(node, 2) else None
    return ir.DataType.UINT8 if zero is None else zero.dtype


def _is_8_bits(node: ir.Node) -> bool:
    return with_constants(1, 2)(node) and _stored_type(node) in _BOUNDS


def _is_whole(node: ir.Node) -> bool:
    zero = constant_tensor(node.inputs[2]) if has_input(node, 2) else None
    return with_constants(1)(node) and (
        zero is None or zero.dtype in (*_BOUNDS, ir.DataType.INT32)
    )


QUANTIZE: dict[str, Op] = {
    "QuantizeLinear": Op(_quantize, _is_8_bits),
    "DequantizeLinear": Op(_dequantize, _is_whole),
}
"""Op type -> how it runs."""
