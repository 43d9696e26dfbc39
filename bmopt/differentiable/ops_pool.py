"""Pools and means in torch."""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.differentiable.call import Call, Op, with_constants
from bmopt.differentiable.ops_product import pads_of, torch_pads
from bmopt.differentiable.torch_access import Tensor


def _max_pool(call: Call) -> Tensor:
    x, kernel, strides, dilations = _geometry(call)
    padded = _padded(call, x, kernel, strides, dilations, -math.inf)
    run = getattr(call.torch.nn.functional, f"max_pool{len(kernel)}d")
    return run(padded, kernel, strides, 0, dilations)


def _average_pool(call: Call) -> Tensor:
    x, kernel, strides, dilations = _geometry(call)
    padded = _padded(call, x, kernel, strides, dilations, 0.0)
    run = getattr(call.torch.nn.functional, f"avg_pool{len(kernel)}d")
    found = run(padded, kernel, strides)
    if call.integer("count_include_pad", 0):
        return found
    ones = call.torch.ones_like(x[:1, :1])
    counted = run(_padded(call, ones, kernel, strides, dilations, 0.0), kernel, strides)
    return found / counted


def _geometry(call: Call) -> tuple[Tensor, list[int], list[int], list[int]]:
    kernel = call.integers("kernel_shape")
    ones = (1,) * len(kernel)
    return call.inputs[0], kernel, call.integers("strides", ones), call.integers("dilations", ones)


def _padded(
    call: Call, x: Tensor, kernel: list[int], strides: list[int], dilations: list[int], by: float
) -> Tensor:
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = pads_of(call, list(x.shape[2:]), spans, strides)
    if not any(map(any, pads)):
        return x
    return call.torch.nn.functional.pad(x, torch_pads(pads), value=by)


def _global_average(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def _global_max(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


def _reduced(name: str) -> Op:
    """Return the reduction that torch has a method of that name for."""

    def run(call: Call) -> Tensor:
        x = call.inputs[0]
        assert x is not None
        axes = call.integers("axes") or call.constant(1) or []
        if not axes and call.integer("noop_with_empty_axes", 0):
            return x
        every = tuple(axes or range(x.dim()))
        return getattr(x, name)(dim=every, keepdim=bool(call.integer("keepdims", 1)))

    return Op(run, with_constants(1))


def _reduced_norm(power: int) -> Op:
    """Return the reduction to the sum of powers of the absolute values, and its root."""

    def run(call: Call) -> Tensor:
        x = call.inputs[0]
        assert x is not None
        axes = tuple(call.integers("axes") or call.constant(1) or range(x.dim()))
        keeps = bool(call.integer("keepdims", 1))
        return call.torch.linalg.vector_norm(x, power, dim=axes, keepdim=keeps)

    return Op(run, _reduces_something)


def _reduces_something(node: ir.Node) -> bool:
    return with_constants(1)(node) and not node.attributes.get_int("noop_with_empty_axes", 0)


def _has_plain_size(node: ir.Node) -> bool:
    return not node.attributes.get_int("ceil_mode", 0)


def _is_plain_average(node: ir.Node) -> bool:
    dilations = node.attributes.get_ints("dilations", ())
    return _has_plain_size(node) and all(d == 1 for d in dilations)


POOLS: dict[str, Op] = {
    "MaxPool": Op(_max_pool, _has_plain_size),
    "AveragePool": Op(_average_pool, _is_plain_average),
    "GlobalAveragePool": Op(_global_average),
    "GlobalMaxPool": Op(_global_max),
    "ReduceMean": _reduced("mean"),
    "ReduceSum": _reduced("sum"),
    "ReduceMax": _reduced("amax"),
    "ReduceMin": _reduced("amin"),
    "ReduceL1": _reduced_norm(1),
    "ReduceL2": _reduced_norm(2),
}
"""Op type -> how it runs."""
