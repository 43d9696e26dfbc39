"""Ops on integers, as float ops between Q/DQ nodes.

Products are computed on the integers themselves, as floats: a sum of fewer than 2^24 is exact, so
what is rounded afterwards is what the kernels for integers round. Inputs and their meaning as in
the operator documents of ONNX (QLinearConv, QLinearMatMul, ConvInteger) and of ONNX Runtime
(domain com.microsoft).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array
from bmopt.optimizer.decomposing.emitter import Emitter, input_at, known, need
from bmopt.optimizer.imported.q_operators import form_of
from bmopt.optimizer.rewrite import fresh_name, root_graph
from bmopt.optimizer.sweeps import RefusedError

_DEQUANTIZE_SINCE = 10
_AXIS_SINCE = 13


def centred(emit: Emitter, place: int, zero: int) -> ir.Value:
    """Return an integer operand without its zero point, as floats of the same numbers."""
    value, point = need(emit.node, place), input_at(emit.node, zero)
    array, shift = constant_array(value), constant_array(point)
    if array is not None and (point is None or shift is not None):
        numbers = array.astype(np.float32)
        if shift is not None:
            numbers = numbers - _along(shift.astype(np.float32), numbers, _axis(emit.node))
        return emit.constant(numbers, "integers")
    if shift is not None and shift.size > 1:
        raise RefusedError(f"reads {value.name!r} with several zero points")
    one = emit.constant(np.asarray(1, np.float32), "one")
    scalar = point if shift is None else emit.constant(shift.reshape(()), "zero")
    return emit.op("DequantizeLinear", value, one, scalar)


def _axis(node: ir.Node) -> int:
    """Return the axis of a weight that has a scale and zero point for each place."""
    if "Conv" in node.op_type:
        return 0
    return 0 if node.attributes.get_int("transB", 0) else -1


def _along(values: Array, like: Array, axis: int) -> Array:
    if values.size == 1:
        return values.reshape(())
    shape = [1] * like.ndim
    shape[axis] = values.size
    return values.reshape(shape)


def _require_zero_points(emit: Emitter, *places: tuple[int, int]) -> None:
    """Refuse operands that ``centred`` would refuse, before anything is written."""
    if emit.version < _DEQUANTIZE_SINCE:
        raise RefusedError(f"needs opset {_DEQUANTIZE_SINCE}")
    for place, zero in places:
        shift = constant_array(input_at(emit.node, zero))
        if shift is not None and shift.size > 1 and constant_array(need(emit.node, place)) is None:
            raise RefusedError(f"has several zero points for its input {place}")


def _factor(emit: Emitter, first: int, second: int, result: int) -> Array:
    """Return what makes integers of a sum those of the result, as ONNX Runtime computes it."""
    scales = [known(emit.node, place) for place in (first, second, result)]
    if scales[0] is None or scales[1] is None or scales[0].size > 1:
        raise RefusedError("has several scales for its input")
    product = scales[0].reshape(-1) * scales[1].reshape(-1)
    return product if scales[2] is None else (product / scales[2].reshape(())).astype(np.float32)


def _requantised(emit: Emitter, total: ir.Value, factor: Array, zero: int) -> ir.Value:
    scaled = emit.op("Mul", total, emit.constant(factor.astype(np.float32), "factor"))
    one = emit.constant(np.asarray(1, np.float32), "one")
    return emit.op("QuantizeLinear", scaled, one, _scalar(emit, zero))


def _scalar(emit: Emitter, place: int) -> ir.Value | None:
    value = input_at(emit.node, place)
    array = constant_array(value)
    return value if array is None else emit.constant(array.reshape(()), "point")


def replace_conv(emit: Emitter) -> bool:
    """Replace QLinearConv.

    Raises:
        RefusedError: Scales are computed, or channels are last.
    """
    node = emit.node
    if node.attributes.get_int("channels_last", 0):
        raise RefusedError("has its channels last")
    _require_zero_points(emit, (0, 2), (3, 5))
    factor, bias = _factor(emit, 1, 4, 6), known(node, 8)
    rank = need(node, 3).shape
    if factor.size > 1:
        if rank is None:
            raise RefusedError("has weights of unknown rank")
        factor = factor.reshape(-1, *(1,) * (len(rank) - 2))
    else:
        factor = factor.reshape(())
    taken = {k: v for k, v in node.attributes.items() if k != "channels_last"}
    added = None if bias is None else emit.constant(bias.astype(np.float32), "bias")
    total = emit.op("Conv", centred(emit, 0, 2), centred(emit, 3, 5), added, **taken)
    return emit.finish([_requantised(emit, total, factor, 7)])


def replace_matmul(emit: Emitter) -> bool:
    """Replace QLinearMatMul, whose scales may be one for each column."""
    _require_zero_points(emit, (0, 2), (3, 5))
    factor = _factor(emit, 1, 4, 6)
    factor = factor.reshape(()) if factor.size == 1 else factor
    total = emit.op("MatMul", centred(emit, 0, 2), centred(emit, 3, 5))
    return emit.finish([_requantised(emit, total, factor, 7)])


def replace_gemm(emit: Emitter) -> bool:
    """Replace QGemm, which gives floats where it has no scale for its result."""
    node = emit.node
    _require_zero_points(emit, (0, 2), (3, 5))
    factor, bias = _factor(emit, 1, 4, 7), known(node, 6)
    factor = factor * np.float32(node.attributes.get_float("alpha", 1.0))
    factor = factor.reshape(()) if factor.size == 1 else factor
    taken = {k: v for k, v in node.attributes.items() if k != "alpha"}
    added = None if bias is None else emit.constant(bias.astype(np.float32), "bias")
    total = emit.op("Gemm", centred(emit, 0, 2), centred(emit, 3, 5), added, **taken)
    if input_at(node, 7) is not None:
        return emit.finish([_requantised(emit, total, factor, 8)])
    return emit.finish([emit.op("Mul", total, emit.constant(factor, "factor"))])


def replace_conv_integer(emit: Emitter) -> bool:
    """Replace ConvInteger."""
    _require_zero_points(emit, (0, 2), (1, 3))
    total = emit.op("Conv", centred(emit, 0, 2), centred(emit, 1, 3), **emit.node.attributes)
    return emit.finish([emit.op("Cast", total, to=int(ir.DataType.INT32))])


def replace_matmul_to_float(emit: Emitter) -> bool:
    """Replace MatMulIntegerToFloat."""
    node = emit.node
    product = emit.op(
        "MatMulInteger", need(node, 0), need(node, 1), input_at(node, 4), input_at(node, 5)
    )
    scale = emit.op("Mul", need(node, 2), need(node, 3))
    real = emit.op("Mul", emit.op("Cast", product, to=int(ir.DataType.FLOAT)), scale)
    return emit.finish([emit.sum(real, input_at(node, 6))])


def replace_dynamic_matmul(emit: Emitter) -> bool:
    """Replace DynamicQuantizeMatMul."""
    node, graph = emit.node, root_graph(emit.node)
    first = emit.op("DynamicQuantizeLinear", need(node, 0))
    maker = first.producer()
    assert maker is not None
    maker.resize_outputs(3)
    for out in maker.outputs[1:]:
        out.name = fresh_name(graph, f"{first.name}_part")
    scale, zero = maker.outputs[1:]
    product = emit.op("MatMulInteger", first, need(node, 1), zero, input_at(node, 3))
    both = emit.op("Mul", scale, need(node, 2))
    real = emit.op("Mul", emit.op("Cast", product, to=int(ir.DataType.FLOAT)), both)
    return emit.finish([emit.sum(real, input_at(node, 4))])


def replace_by_pairs(emit: Emitter) -> bool:
    """Replace an op by its float op, between DequantizeLinear and QuantizeLinear."""
    node, form = emit.node, form_of(emit.node)
    assert form is not None
    if node.attributes.get_int("channels_last", 0):
        raise RefusedError("has its channels last")
    _require_zero_points(emit)
    plain = [need(node, place) for place in form.plain]
    reals = [
        emit.op("DequantizeLinear", need(node, i), *(_scalar(emit, i + k) for k in (1, 2)))
        for i in form.operands
    ]
    taken = {k: v for k, v in node.attributes.items() if k not in ("channels_last", "opset")}
    real = emit.op(form.op_type, *plain, *reals, **taken)
    ends = (_scalar(emit, form.scale), _scalar(emit, form.scale + 1))
    return emit.finish([emit.op("QuantizeLinear", real, *ends)])


def replace_softmax(emit: Emitter) -> bool:
    """Replace QLinearSoftmax.

    Raises:
        RefusedError: It means another opset's Softmax than the model's.
    """
    meant = emit.node.attributes.get_int("opset", emit.version)
    if (meant >= _AXIS_SINCE) != (emit.version >= _AXIS_SINCE):
        raise RefusedError(f"is a Softmax of opset {meant}")
    return replace_by_pairs(emit)
