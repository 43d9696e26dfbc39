from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.core.corrections import Corrections, Replacement
from bmopt.errors import QuantizationError
from bmopt.graph.origin import origin_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from tests.optimizer.literals import weights
from tests.quantizing import named
from tests.rewriting import structure

NET = f"""
g (float[N,4,6,6] x) => (float[N,4,6,6] y)
  <{weights("w", (4, 4, 1, 1))}, {weights("b", (4,))}>
{{
  v = Constant<value = float[4] {{1, 2, 3, 4}}>()
  p = Conv(x, w, b)
  q = Conv(p, w)
  y = Conv(q, w, v)
}}
"""

WEIGHT = np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)
BIAS = np.array([5, 6, 7, 8], np.float32)


def pass_for(*replacements: Replacement) -> CorrectWeights:
    return CorrectWeights(Corrections("m", tuple(replacements), {}, {}, ()))


def constants(model: ir.Model, node: str) -> list[object]:
    found = next(n for n in model.graph if n.name == node)
    return [constant_array(value) for value in found.inputs[1:]]


def test_only_the_nodes_that_are_named_read_other_constants() -> None:
    model = named(NET)
    old = constant_array(model.graph.initializers["w"])
    outcome = pass_for(Replacement("p", 1, WEIGHT), Replacement("p", 2, BIAS))(model)
    assert outcome.modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_array_equal(constants(model, "p")[0], WEIGHT)
    np.testing.assert_array_equal(constants(model, "p")[1], BIAS)
    np.testing.assert_array_equal(constants(model, "q")[0], old)
    np.testing.assert_array_equal(constants(model, "y")[0], old)
    assert "b" not in model.graph.initializers, "nothing reads it any more"


def test_a_node_can_get_an_input_that_it_had_not() -> None:
    model = named(NET)
    pass_for(Replacement("q", 2, BIAS))(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_array_equal(constants(model, "q")[1], BIAS)


def test_a_constant_node_that_nobody_reads_any_more_goes() -> None:
    model = named(NET)
    pass_for(Replacement("y", 2, BIAS))(model)
    assert [node.name for node in model.graph] == ["p", "q", "y"]
    np.testing.assert_array_equal(constants(model, "y")[1], BIAS)


def test_a_second_run_changes_nothing() -> None:
    model = named(NET)
    both = pass_for(Replacement("p", 1, WEIGHT), Replacement("q", 2, BIAS))
    both(model)
    lines, names = structure(model), set(model.graph.initializers)
    assert not both(model).modified
    assert structure(model) == lines
    assert set(model.graph.initializers) == names
    for node in model.graph:
        assert origin_of(node) == (node.name,)


def test_nothing_to_replace_modifies_nothing() -> None:
    model = named(NET)
    model.graph.register_initializer(
        ir.Value(name="spare", const_value=ir.tensor(BIAS, name="spare"))
    )
    assert not pass_for()(model).modified
    assert "spare" in model.graph.initializers


def test_a_node_that_the_model_has_not() -> None:
    with pytest.raises(QuantizationError, match="corrections name 'z', which the model has not"):
        pass_for(Replacement("z", 1, WEIGHT))(named(NET))
