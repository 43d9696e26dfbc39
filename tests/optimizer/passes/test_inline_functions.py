from __future__ import annotations

import pytest

from bmopt.errors import ModelError
from bmopt.optimizer.passes.inline_functions import InlineFunctions
from tests.rewriting import assert_keeps, check_pass, parse, structure

_MODEL = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[2] x) => (float[2] y) {{ h = local.twice(x)  y = Relu(h) }}
<domain: "local", opset_import: ["" : {opset}{more}]> twice (a) => (b) {{ {body} }}
"""


def test_inlines_a_body_that_keeps_the_callers_origin() -> None:
    model = parse(_MODEL.format(opset=17, more="", body="c = Neg(a)  b = Neg(c)"))
    assert check_pass(InlineFunctions(), model).modified
    expected = parse("g (float[2] x) => (float[2] y) { c = Neg(x) h = Neg(c) y = Relu(h) }")
    assert structure(model) == structure(expected)
    assert not model.functions


def test_refuses_a_function_of_another_opset() -> None:
    text = _MODEL.format(opset=13, more="", body="c = Neg(a)  b = Neg(c)")
    outcome = assert_keeps(InlineFunctions(), text, compare=False)
    assert "version 13" in outcome.refusals[0].reason


def test_a_circle_of_functions_is_an_error() -> None:
    text = _MODEL.format(opset=17, more=', "local" : 1', body="b = local.twice(a)")
    with pytest.raises(ModelError, match="circle"):
        InlineFunctions()(parse(text))
