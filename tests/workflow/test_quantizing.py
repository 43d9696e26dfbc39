from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.core.engine import BuildOptions
from bmopt.core.ranges import METHODS, Interval, RangeTable
from bmopt.core.scheme import FloatRules
from bmopt.core.target import Target
from bmopt.errors import QuantizationError, UsageError
from bmopt.workflow import quantizing
from bmopt.workflow.engines import Opener
from bmopt.workflow.quantizing import (
    Quantizer,
    candidates,
    format_rules,
    lacks_integers,
    parse_rules,
    placement_report,
)
from tests.calibration.memory_dataset import MemoryDataset
from tests.quantizing import CONV_NET, measured, named, samples_for, scheme, table_of
from tests.rewriting import structure

ENGINE = OnnxRuntimeBackend()
OPENER = Opener(ENGINE, Target("ort", "int8", "x86-vnni"), BuildOptions(), threads=1)


def quantizer(rules: FloatRules | None = None) -> Quantizer:
    model = named(CONV_NET)
    table = measured(model, samples_for(model))
    return Quantizer(model, table, scheme(rules=rules), ENGINE, OPENER)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("all", FloatRules()),
        ("prefix=2", FloatRules(prefix=2)),
        ("narrow_input=4,small_product=65536", FloatRules(narrow_input=4, small_product=65536)),
    ],
)
def test_rules_go_through_text(text: str, rules: FloatRules) -> None:
    assert parse_rules(text) == rules
    assert format_rules(rules) == text


def test_every_candidate_goes_through_text() -> None:
    found = candidates(scheme(rules=FloatRules(4, 16, 100)).rules)
    assert [parse_rules(format_rules(rules)) for rules in found] == found
    assert found[0] == FloatRules()
    assert FloatRules(4, 16, 100) in found


@pytest.mark.parametrize(
    "text", ["", "none", "prefix", "prefix=", "prefix=-1", "prefix=1,,", "a=1"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write auto, rules, all, or key=N"):
        parse_rules(text)


def test_applying_leaves_the_float_model_as_it_is() -> None:
    found = quantizer()
    before = structure(found.model)
    copy = found.apply(found.plan("minmax", FloatRules()))
    assert structure(found.model) == before
    assert structure(copy) != before


def test_the_method_with_the_best_outputs_is_chosen() -> None:
    found = quantizer()
    spoilt: dict[str, Any] = {}
    for name, entry in found.table.tensors.items():
        affine: dict[str, Interval] = {
            m: Interval(entry.low * 40, entry.high * 40) for m in METHODS
        }
        affine["percentile"] = entry.affine["minmax"]
        spoilt[name] = dataclasses.replace(entry, affine=affine)
    table = dataclasses.replace(found.table, tensors=spoilt)
    worse = dataclasses.replace(found, table=table)
    dataset = MemoryDataset(samples_for(found.model))
    assert worse.choose_method(FloatRules(), dataset, 8) == "percentile"


def choose(monkeypatch: pytest.MonkeyPatch, ratios: Mapping[str, float]) -> FloatRules:
    """Choose with made-up latencies: rules' text -> ratio to all in integers, 2 if not given."""

    @dataclasses.dataclass(frozen=True)
    class Found:
        ratio: float

    monkeypatch.setattr(quantizing, "compare_latency", lambda *_, **__: None)
    monkeypatch.setattr(quantizing, "ratio", lambda _, first, name: Found(ratios.get(name, 2.0)))
    found = quantizer(FloatRules(narrow_depthwise=17, small_product=100))
    return found.choose_rules("minmax", (), 1.0)[0]


@pytest.mark.parametrize(
    ("ratios", "chosen"),
    [
        ({}, "all"),
        ({"narrow_depthwise=17": 0.5}, "narrow_depthwise=17"),
        ({"narrow_depthwise=17": 0.995}, "all"),  # within 1 %, more integers win
        ({"narrow_depthwise=17": 0.9, "small_product=100": 0.7}, "small_product=100"),
    ],
)
def test_the_fastest_placement_is_chosen(
    monkeypatch: pytest.MonkeyPatch, ratios: Mapping[str, float], chosen: str
) -> None:
    assert format_rules(choose(monkeypatch, ratios)) == chosen


def test_placements_are_really_timed() -> None:
    found = quantizer(FloatRules(narrow_depthwise=17))
    feeds = [{name: array[:1] for name, array in samples_for(found.model).items()}]
    rules, ratios = found.choose_rules("minmax", feeds, 0.2)
    assert ratios["all"] == 1.0
    assert "narrow_depthwise=17" in ratios
    assert format_rules(rules) in ratios


def test_a_single_candidate_is_not_timed() -> None:
    text = "g (float[N,2] x) => (float[N,1] y) <float[2,1] w = {1, 2}> { y = MatMul(x, w) }"
    model = named(text)
    one = Quantizer(model, table_of(model), scheme(), ENGINE, OPENER)
    assert one.choose_rules("minmax", (), 1.0) == (FloatRules(), {"all": 1.0})


def lacking(text: str, table: RangeTable | None = None) -> str:
    model = named(text)
    quantizer = Quantizer(model, table or table_of(model), scheme(), ENGINE, OPENER)
    return lacks_integers(model, quantizer.plan("minmax", FloatRules()))


def test_a_model_with_integers_lacks_none() -> None:
    assert lacking(CONV_NET) == ""


def test_a_model_without_products_is_refused() -> None:
    with pytest.raises(QuantizationError, match="has no convolution or matrix product"):
        lacking("g (float[N] x) => (float[N] y) { y = Relu(x) }")


def test_a_model_whose_products_stay_in_float_says_why() -> None:
    text = "g (float[2,2] x) => (float[2,2] y) { y = MatMul(x, x) }"
    assert lacking(text) == "its weight is not constant"


def test_the_report_has_a_row_per_node_with_a_kernel() -> None:
    found = quantizer()
    plan = found.plan("minmax", FloatRules(prefix=1))
    rows = placement_report(found.model, plan, {"c2": "QLinearConv"})
    by_name = {row["node"]: row for row in rows}
    assert list(by_name) == ["c1", "m1", "c2", "c3", "a", "p", "f", "y"]
    assert by_name["c2"] == {
        "node": "c2",
        "op": "Conv",
        "integer": True,
        "kernel": "QLinearConv",
        "reason": "",
    }
    assert by_name["c1"]["reason"] == "so near the input it is faster in float"
    assert not by_name["m1"]["integer"]
