"""From ranges and a scheme to a quantisation plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.calibration.encoding import (
    clips_alike,
    encode_activation,
    encode_weight,
    with_scales,
)
from bmopt.calibration.placement import Placement, final_output, place
from bmopt.calibration.plan_inputs import plan_inputs
from bmopt.core.corrections import Corrections
from bmopt.core.plan import ActivationQuant, QuantPlan, WeightQuant
from bmopt.core.ranges import Interval, Method, RangeTable
from bmopt.core.scheme import Scheme
from bmopt.graph.products import Product, clip_after, clip_bounds, product_of
from bmopt.graph.values import constant_tensor


def make_plan(
    model: ir.Model,
    table: RangeTable,
    scheme: Scheme,
    *,
    method: Method = "minmax",
    methods: Mapping[str, Method] | None = None,
    keep_float: Sequence[str] = (),
    weight_scales: Mapping[str, tuple[float, ...]] | None = None,
) -> QuantPlan:
    """Return the plan to quantise ``model`` after ``scheme`` with ``method``'s ranges.

    ``methods`` has the tensors whose range another method chooses.
    ``keep_float`` holds node names, globs or ``op:Type``. ``weight_scales`` has the scales of
    weights that are known already, by product node: one, or one per output channel.

    Raises:
        QuantizationError: Known scales that do not fit their weight.
    """
    known = weight_scales or {}
    if scheme.side == "inputs":
        return plan_inputs(model.graph, table, scheme, method, keep_float, known, methods or {})
    placement = place(model.graph, table, scheme, keep_float)
    return _Planner(table, scheme, method, placement, known, methods or {}).run()


class _Planner:
    def __init__(
        self,
        table: RangeTable,
        scheme: Scheme,
        method: Method,
        placement: Placement,
        known: Mapping[str, tuple[float, ...]],
        methods: Mapping[str, Method],
    ) -> None:
        self._table = table
        self._scheme = scheme
        self._method = method
        self._methods = methods
        self._placement = placement
        self._known = known
        self._integer = set(placement.integer)
        self._encodings: dict[str, ActivationQuant] = {}
        self._folded: list[str] = []

    def run(self) -> QuantPlan:
        for node in self._placement.integer:
            self._encode_inputs(node)
            self._encode_output(node)
        weights = {}
        for node in self._placement.integer:
            product = product_of(node) if node.op_type in self._scheme.products else None
            if product is not None:
                weights[node.name or ""] = self._weight(product)
        return QuantPlan(
            model=self._table.model,
            scheme=self._scheme.name,
            method=self._method,
            methods=dict(self._methods),
            activations=self._encodings,
            weights=weights,
            integer=tuple(n.name or "" for n in self._placement.integer),
            folded=tuple(self._folded),
            moved=tuple(
                n.name or "" for n in self._placement.integer if n.op_type in self._scheme.movers
            ),
            float_nodes=dict(self._placement.reasons),
        )

    def _weight(self, product: Product) -> WeightQuant:
        node = product.node
        scale = self._encodings[_name(node.inputs[0])].scale
        quant = encode_weight(
            product, self._scheme.weight, scale if self._scheme.quantize_bias else None
        )
        known = self._known.get(node.name or "")
        return quant if known is None else with_scales(quant, product, known)

    def _encode_inputs(self, node: ir.Node) -> None:
        many = node.op_type in self._scheme.followers
        for value in node.inputs if many else node.inputs[:1]:
            if value is not None and constant_tensor(value) is None:
                self._encode(value)

    def _encode_output(self, node: ir.Node) -> None:
        if node.op_type in self._scheme.movers:
            self._encodings[_name(node.outputs[0])] = self._encodings[_name(node.inputs[0])]
            return
        output, clip = final_output(node), clip_after(node)
        if not self._wants_output(node, output):
            return
        quant = encode_activation(self._interval(output), self._scheme.activation)
        if clip is not None:
            bounds = clip_bounds(clip)
            assert bounds is not None
            if clips_alike(quant, self._scheme.activation, *bounds):
                self._folded.append(clip.name or "")
            elif _name(node.outputs[0]) in self._table.tensors:
                # The integer kernel ends at the product; the clip runs on its real output.
                self._encode(node.outputs[0])
        self._encode(output)

    def _wants_output(self, node: ir.Node, output: ir.Value) -> bool:
        if node.op_type not in self._scheme.output_optional:
            return True
        return any(user in self._integer for user, _ in output.uses())

    def _encode(self, value: ir.Value) -> None:
        name = _name(value)
        if name not in self._encodings:
            interval = self._interval(value)
            self._encodings[name] = encode_activation(interval, self._scheme.activation)

    def _interval(self, value: ir.Value) -> Interval:
        name = _name(value)
        method = self._methods.get(name, self._method)
        symmetric = self._scheme.activation.symmetric
        return self._table.tensors[name].interval(method, symmetric=symmetric)


def _name(value: ir.Value | None) -> str:
    assert value is not None
    return value.name or ""


def corrected(plan: QuantPlan, corrections: Corrections, scheme: Scheme) -> QuantPlan:
    """Return ``plan`` for the model in which ``corrections`` took the place of its constants."""
    weights = {}
    for name, quant in plan.weights.items():
        scales = corrections.scales.get(name, quant.scales)
        new_bias = corrections.biases.get(name) if scheme.quantize_bias else None
        bias = quant.bias if new_bias is None else new_bias
        weights[name] = dataclasses.replace(quant, scales=scales, bias=bias)
    return dataclasses.replace(plan, weights=weights)
