"""From a range table to a Q/DQ model: which ranges, and which nodes in integers."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.bench.accuracy import compare_accuracy
from bmopt.bench.compare import compare_latency
from bmopt.bench.statistics import ratio
from bmopt.calibration.plan import make_plan
from bmopt.core.backend import Reference
from bmopt.core.dataset import Dataset
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS, Method, RangeTable
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scheme import FloatRules, Scheme, Side
from bmopt.errors import QuantizationError, UsageError
from bmopt.graph.model_io import save_model
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import PRODUCT_OPS, multiply_adds, product_of
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
    """

    model: ir.Model
    table: RangeTable
    scheme: Scheme
    reference: Reference
    opener: Opener
    keep_float: tuple[str, ...] = ()
    weight_scales: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    def plan(self, method: Method, rules: FloatRules) -> QuantPlan:
        """Return the plan with ``method``'s ranges and ``rules``' placement."""
        scheme = dataclasses.replace(self.scheme, rules=rules)
        return make_plan(
            self.model,
            self.table,
            scheme,
            method=method,
            keep_float=self.keep_float,
            weight_scales=self.weight_scales,
        )

    def apply(self, plan: QuantPlan) -> ir.Model:
        """Return a quantised copy of the model."""
        return Quantize(plan)(self.model.clone()).model

    def choose_method(self, rules: FloatRules, dataset: Dataset, batch_size: int) -> Method:
        """Return the method whose model is nearest to the float one, by output SQNR."""
        best: tuple[float, Method] | None = None
        keep_qdq = self.scheme.side == "inputs"
        with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
            float_path = Path(folder) / "float.onnx"
            save_model(self.model, float_path)
            reference = stack.enter_context(self.reference.open_graph(float_path))
            for method in METHODS:
                path = Path(folder) / f"{method}.onnx"
                save_model(self.apply(self.plan(method, rules)), path)
                with self.reference.open_graph(path, keep_qdq=keep_qdq) as candidate:
                    report = compare_accuracy(reference, candidate, dataset, batch_size)
                score = _mean_sqnr(report.sqnr_db)
                if best is None or score > best[0]:
                    best = (score, method)
        assert best is not None
        return best[1]

    def choose_rules(
        self, method: Method, feeds: Sequence[Feeds], duration_s: float
    ) -> tuple[FloatRules, dict[str, float]]:
        """Return the placement that runs fastest, and every candidate's latency ratio to it.

        Candidates are timed in turns. Where two are within 1 %, the one with more integers wins.
        """
        plans = self._distinct_plans(method)
        if len(plans) == 1:
            return plans[0][0], {format_rules(plans[0][0]): 1.0}
        with ExitStack() as stack:
            runners: dict[str, Runner] = {}
            for rules, plan in plans:
                runner = stack.enter_context(self.opener.opened(self.apply(plan)))
                runners[format_rules(rules)] = runner
            limit = min(duration_s, _SECONDS_PER_CANDIDATE * len(plans))
            timed = compare_latency(runners, feeds, duration_s=limit, block_ms=10.0)
        first, *others = runners
        ratios = {first: 1.0}
        ratios.update({name: ratio(timed, first, name).ratio for name in others})
        return _fastest(plans, ratios), ratios

    def _distinct_plans(self, method: Method) -> list[tuple[FloatRules, QuantPlan]]:
        """Return candidates that differ, the one with the most integers first."""
        found: list[tuple[FloatRules, QuantPlan]] = []
        most = 0
        for rules in candidates(self.scheme.rules, self.scheme.side):
            plan = self.plan(method, rules)
            work = self._integer_work(plan)
            most = most or work
            if any(plan.integer == other.integer for _, other in found):
                continue
            if not found or work >= _LEAST_INTEGER_SHARE * most:
                found.append((rules, plan))
        return found

    def _integer_work(self, plan: QuantPlan) -> int:
        members = set(plan.weights)
        products = (product_of(n) for n in self.model.graph if (n.name or "") in members)
        return sum(multiply_adds(p) or math.prod(p.shape) for p in products if p is not None)


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
                f"placement {text!r}: write auto, rules, all, or key=N,... with {', '.join(names)}"
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


def _mean_sqnr(decibels: Mapping[str, float]) -> float:
    finite = [min(value, 200.0) for value in decibels.values() if not math.isnan(value)]
    return sum(finite) / len(finite) if finite else -math.inf


def _fastest(
    plans: Sequence[tuple[FloatRules, QuantPlan]], ratios: Mapping[str, float]
) -> FloatRules:
    best = plans[0][0]
    for rules, _ in plans[1:]:
        if ratios[format_rules(rules)] < _CLEAR_GAIN * ratios[format_rules(best)]:
            best = rules
    return best


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
