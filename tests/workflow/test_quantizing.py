from __future__ import annotations

import pytest

from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.core.engine import BuildOptions
from bmopt.core.ranges import RangeTable
from bmopt.core.scheme import FloatRules
from bmopt.core.target import Target
from bmopt.errors import QuantizationError, UsageError
from bmopt.workflow.engines import Opener
from bmopt.workflow.quantizing import (
    Quantizer,
    candidates,
    format_rules,
    lacks_integers,
    parse_rules,
    placement_report,
)
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
    with pytest.raises(UsageError, match="write measured, rules, all, or key=N"):
        parse_rules(text)


def test_applying_leaves_the_float_model_as_it_is() -> None:
    found = quantizer()
    before = structure(found.model)
    copy = found.apply(found.plan("minmax", FloatRules()))
    assert structure(found.model) == before
    assert structure(copy) != before


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
