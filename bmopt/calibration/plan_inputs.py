"""From ranges to a quantisation plan whose Q/DQ pairs stand before integer kernels only."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.calibration.encoding import encode_activation, encode_weight, with_scales
from bmopt.calibration.placement_inputs import place_inputs
from bmopt.calibration.shared_scales import share_intervals
from bmopt.core.plan import QuantPlan, WeightQuant
from bmopt.core.ranges import Interval, Method, RangeTable
from bmopt.core.scheme import Scheme
from bmopt.graph.products import product_of

_SMALLEST_NORMAL = 2.0**-14
_SMALLEST_FLOAT16 = 2.0**-24


def plan_inputs(
    graph: ir.Graph,
    table: RangeTable,
    scheme: Scheme,
    method: Method,
    keep_float: Sequence[str],
    weight_scales: Mapping[str, tuple[float, ...]],
    methods: Mapping[str, Method],
) -> QuantPlan:
    """Return the plan after a scheme that quantises inputs.

    Raises:
        QuantizationError: ``weight_scales`` has scales that do not fit their weight.
    """

    def interval_of(value: ir.Value) -> Interval:
        name = value.name or ""
        chosen = methods.get(name, method)
        return table.tensors[name].interval(chosen, symmetric=scheme.activation.symmetric)

    placement = place_inputs(graph, table, scheme, keep_float)
    intervals = share_intervals(graph, placement, scheme, interval_of)
    activations = {}
    for name, interval in intervals.items():
        quant = encode_activation(interval, scheme.activation)
        activations[name] = dataclasses.replace(quant, scale=held_by_float16(quant.scale))
    weights = {}
    for node in placement.reads:
        if node.op_type in scheme.products:
            scale = activations[_name(node.inputs[0])].scale if scheme.quantize_bias else None
            weights[node.name or ""] = _weight(node, scheme, scale, weight_scales)
    return QuantPlan(
        model=table.model,
        scheme=scheme.name,
        method=method,
        methods=dict(methods),
        activations=activations,
        weights=weights,
        integer=tuple(node.name or "" for node in placement.reads),
        folded=(),
        moved=(),
        float_nodes=dict(placement.reasons),
        reads={node.name or "": reads for node, reads in placement.reads.items()},
    )


def held_by_float16(scale: float) -> float:
    """Return ``scale``, rounded up where float16 has few digits for it or none.

    Where the floats around a Q/DQ pair become float16, so does its scale, and what was rounded
    with it would be another number.
    """
    if scale >= _SMALLEST_NORMAL:
        return scale
    return math.ceil(scale / _SMALLEST_FLOAT16) * _SMALLEST_FLOAT16


def _weight(
    node: ir.Node,
    scheme: Scheme,
    input_scale: float | None,
    weight_scales: Mapping[str, tuple[float, ...]],
) -> WeightQuant:
    product = product_of(node)
    assert product is not None
    quant = encode_weight(product, scheme.weight, input_scale)
    known = weight_scales.get(node.name or "")
    if known is not None:
        return with_scales(quant, product, known)
    return dataclasses.replace(quant, scales=tuple(map(held_by_float16, quant.scales)))


def _name(value: ir.Value | None) -> str:
    assert value is not None
    return value.name or ""
