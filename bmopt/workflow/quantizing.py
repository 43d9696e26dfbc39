"""From a range table to a Q/DQ model: which ranges, and which nodes in integers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from bmopt.calibration.plan import make_plan
from bmopt.core.backend import Reference
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import Method, RangeTable
from bmopt.core.scheme import FloatRules, Scheme, Side
from bmopt.errors import QuantizationError, UsageError
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import PRODUCT_OPS
from bmopt.graph.values import is_op
from bmopt.optimizer.passes.quantize import Quantize
from bmopt.workflow.engines import Opener

_LONGEST_PREFIX = 4
_ANY_DEPTHWISE = 1 << 16
_SECONDS_PER_CANDIDATE = 0.5
_LEAST_INTEGER_SHARE = 0.5
_CLEAR_GAIN = 0.99
_PRODUCTS = (*PRODUCT_OPS, "LSTM", "GRU", "RNN")


@dataclasses.dataclass(frozen=True)
class Quantizer:
    """All that quantising one model needs.

    Attributes:
        model: The float model, at an opset that can hold the scheme's Q/DQ nodes.
        table: Its ranges.
        scheme: The target's scheme.
        reference: The engine that compares outputs.
        opener: Opens what is timed, as the target's engine runs it.
        keep_float: Node names, globs or ``op:Type`` to leave in float.
        weight_scales: Scales of a model that came quantised, by product node; empty for one that
            did not.
        source: Digest of the model before its channels were equalised; empty where they were
            not.
    """

    model: ir.Model
    table: RangeTable
    scheme: Scheme
    reference: Reference
    opener: Opener
    keep_float: tuple[str, ...] = ()
    weight_scales: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    source: str = ""

    def plan(
        self,
        method: Method,
        rules: FloatRules,
        *,
        keep_float: Sequence[str] = (),
        methods: Mapping[str, Method] | None = None,
    ) -> QuantPlan:
        """Return the plan with ``method``'s ranges and ``rules``' placement.

        ``keep_float`` are left in float on top of the quantiser's own; ``methods`` has tensors
        whose range another method chooses.
        """
        scheme = dataclasses.replace(self.scheme, rules=rules)
        plan = make_plan(
            self.model,
            self.table,
            scheme,
            method=method,
            keep_float=(*self.keep_float, *keep_float),
            weight_scales=self.weight_scales,
            methods=methods,
        )
        return dataclasses.replace(plan, source=self.source)

    def apply(self, plan: QuantPlan, model: ir.Model | None = None) -> ir.Model:
        """Return a quantised copy of the model, or of ``model``, which is that one corrected."""
        return Quantize(plan)((model or self.model).clone()).model


def candidates(rules: FloatRules, side: Side = "outputs") -> list[FloatRules]:
    """Return placements worth timing: all in integers, and the scheme's rules one by one."""
    if side == "inputs":
        return _candidates_of_inputs(rules)
    narrow = dataclasses.replace(rules, small_product=0)
    small = FloatRules(small_product=rules.small_product)
    prefixes = [
        dataclasses.replace(narrow, prefix=count) for count in range(1, _LONGEST_PREFIX + 1)
    ]
    return [FloatRules(), narrow, small, rules, *prefixes]


def _candidates_of_inputs(rules: FloatRules) -> list[FloatRules]:
    """Return them for a GPU, where depthwise convolutions and the first ones are in doubt."""
    convolutions = dataclasses.replace(rules, narrow_matrix=0, vectors=0, small_product=0)
    matrices = dataclasses.replace(rules, narrow_channels=0, narrow_depthwise=0)
    depthwise = dataclasses.replace(rules, narrow_depthwise=_ANY_DEPTHWISE)
    prefixes = [
        dataclasses.replace(rules, prefix=count) for count in range(1, _LONGEST_PREFIX + 1)
    ]
    return [
        FloatRules(),
        FloatRules(prefix=1),
        convolutions,
        matrices,
        dataclasses.replace(rules, narrow_depthwise=0),
        rules,
        depthwise,
        *prefixes,
    ]


def parse_rules(text: str) -> FloatRules:
    """Return the rules that ``key=value,...`` sets; ``all`` sets none.

    Raises:
        UsageError: The text has an unknown rule, or a value that is no whole number.
    """
    names = [field.name for field in dataclasses.fields(FloatRules)]
    values: dict[str, int] = {}
    for part in [] if text == "all" else text.split(","):
        key, _, value = part.partition("=")
        if key not in names or not value.isdecimal():
            raise UsageError(
                f"placement {text!r}: write measured, rules, all, or key=N,... with "
                f"{', '.join(names)}"
            )
        values[key] = int(value)
    return FloatRules(**values)


def format_rules(rules: FloatRules) -> str:
    """Return the text that ``parse_rules`` reads."""
    parts = [f"{key}={value}" for key, value in dataclasses.asdict(rules).items() if value]
    return ",".join(parts) or "all"


def lacks_integers(model: ir.Model, plan: QuantPlan) -> str:
    """Return why no product runs in integers; empty where one does.

    Raises:
        QuantizationError: The model, sub-graphs included, has no product at all.
    """
    if plan.weights:
        return ""
    if not any(is_op(node, *_PRODUCTS) for node in nodes_in(model.graph)):
        raise QuantizationError(
            "nothing to run in INT8: the model has no convolution or matrix product; use an "
            "fp32 target"
        )
    products = {n.name or "" for n in model.graph if is_op(n, *_PRODUCTS)}
    reasons = {plan.float_nodes.get(name, "has no integer kernel") for name in products}
    return "; ".join(sorted(reasons)) or "all products are in bodies of If, Loop or Scan"


def placement_report(
    model: ir.Model, plan: QuantPlan, executed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return a row per node that has an integer kernel: where it runs, and why."""
    integer = set(plan.integer)
    rows = []
    for node in model.graph:
        name = node.name or ""
        if name in integer or name in plan.float_nodes:
            rows.append(
                {
                    "node": name,
                    "op": node.op_type,
                    "integer": name in integer,
                    "kernel": executed.get(name, node.op_type),
                    "reason": plan.float_nodes.get(name, ""),
                }
            )
    return rows
