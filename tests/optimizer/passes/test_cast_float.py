from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.errors import ModelError, PassError, QuantizationError
from bmopt.graph.nesting import nodes_in
from bmopt.optimizer.passes.cast_float import CastFloat
from bmopt.optimizer.pipeline_text import parse_steps
from tests.casting import converted, plan_for, require_close
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named
from tests.rewriting import run_plain, structure

W = weights("w", (2, 2))


def test_before_and_after() -> None:
    model = named(
        "g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, 2, 0.5, 1}> "
        "{ h = MatMul(x, w) r = Relu(h) y = Add(r, h) }"
    )
    assert structure(require_close(model, plan_for())) == [
        "in x",
        "%2 = Cast(x) {'to': 10}",
        "%3 = MatMul(%2, FLOAT16[2, 2][[1.  2. ] [0.5 1. ]]) {}",
        "%4 = Relu(%3) {}",
        "%5 = Add(%4, %3) {}",
        "y = Cast(%5) {'to': 1}",
        "out y",
    ]


def test_a_float32_node_has_casts_around_it_and_one_per_tensor() -> None:
    model = named(
        "g (float[N,2] x) => (float[N,2] y) "
        "{ h = Neg(x) e = Exp(h) f = Exp(h) r = Mul(h, e) y = Mul(r, f) }"
    )
    assert structure(require_close(model, plan_for("e", "f"))) == [
        "in x",
        "%2 = Cast(x) {'to': 10}",
        "%3 = Neg(%2) {}",
        "%4 = Cast(%3) {'to': 1}",
        "%5 = Exp(%4) {}",
        "%6 = Cast(%5) {'to': 10}",
        "%7 = Exp(%4) {}",
        "%8 = Cast(%7) {'to': 10}",
        "%9 = Mul(%3, %6) {}",
        "%10 = Mul(%9, %8) {}",
        "y = Cast(%10) {'to': 1}",
        "out y",
    ]


def test_a_float32_node_reads_inputs_and_writes_outputs_directly() -> None:
    model = named("g (float[N,2] x) => (float[N,2] y) { h = Neg(x) y = Exp(h) }")
    copy = require_close(model, plan_for("h", "y"))
    assert [node.op_type for node in copy.graph] == ["Neg", "Exp"]


def test_a_shared_constant_has_two_copies() -> None:
    model = named(f"g (float[2,2] x) => (float[2,2] y) <{W}> {{ h = Add(x, w) y = Mul(h, w) }}")
    copy = require_close(model, plan_for("h"))
    dtypes = [v.dtype for v in copy.graph.initializers.values()]
    assert sorted(dtypes) == [ir.DataType.FLOAT, ir.DataType.FLOAT16]
    assert len(require_close(model, plan_for()).graph.initializers) == 1


def test_constant_nodes() -> None:
    model = named(
        "g (float[2] x) => (float[2] y) "
        "{ c = Constant<value_float=0.5>() h = Add(x, c) y = Mul(h, c) }"
    )
    assert not any(n.op_type == "Constant" for n in require_close(model, plan_for()).graph)
    kept = require_close(model, plan_for("h"))
    assert [n.op_type for n in kept.graph] == ["Constant", "Add", "Cast", "Mul", "Cast"]


def test_the_interface_in_half_precision() -> None:
    model = named(
        "g (float[N,2] x, int64[N,2] i) => (float[N,2] y, int64[1] k) "
        "{ y = Exp(x) k = Shape<end=1>(i) }"
    )
    copy = require_close(model, plan_for(keep_io=False))
    assert [v.dtype for v in copy.graph.inputs] == [ir.DataType.FLOAT16, ir.DataType.INT64]
    assert [v.dtype for v in copy.graph.outputs] == [ir.DataType.FLOAT16, ir.DataType.INT64]
    assert len(copy.graph) == 2
    inside = require_close(model, plan_for("y", keep_io=False))
    assert [n.op_type for n in inside.graph if n.op_type != "Shape"] == ["Cast", "Exp", "Cast"]


@pytest.mark.parametrize("keep_io", [True, False])
def test_one_tensor_as_two_outputs_and_an_input_as_output(keep_io: bool) -> None:
    model = named("g (float[2] x) => (float[2] y, float[2] z) { y = Exp(x) z = Identity(y) }")
    model.graph.outputs.append(model.graph.outputs[0])
    model.graph.outputs.append(model.graph.inputs[0])
    plan = plan_for(keep_io=keep_io)
    CastFloat(plan)(model)
    wanted = ir.DataType.FLOAT if keep_io else ir.DataType.FLOAT16
    assert [(v.name, v.dtype) for v in model.graph.outputs] == [
        (name, wanted) for name in ("y", "z", "y", "x")
    ]


def test_types_that_are_written_into_nodes() -> None:
    model = named(
        "g (int64[2] s, int32[2,3] i) => (float[2,3] y) { c = ConstantOfShape<value=float[1]{1.5}>"
        "(s) f = Cast<to=1>(i) l = CastLike(i, c) a = Add(f, c) y = Mul(a, l) }"
    )
    copy = converted(model, plan_for())
    dtypes = {n.op_type: n.outputs[0].dtype for n in copy.graph if n.op_type != "Cast"}
    assert set(dtypes.values()) == {ir.DataType.FLOAT16}
    zeros = named("g (int64[1] s) => (float[N] y) { y = ConstantOfShape(s) }")
    assert converted(zeros, plan_for()).graph[0].attributes["value"].as_tensor().numpy() == 0


def test_casts_that_the_model_has() -> None:
    model = named(
        "g (float[2] x) => (float[2] y) "
        "{ a = Exp(x) h = Cast<to=10>(a) b = Neg(h) f = Cast<to=1>(b) y = Mul(f, a) }"
    )
    copy = require_close(model, plan_for())
    assert [n.op_type for n in copy.graph] == ["Cast", "Exp", "Neg", "Mul", "Cast"]


def test_integers_parameters_and_shapes_are_left_alone() -> None:
    model = named(
        "g (float[1,1,2,2] x) => (float[1,1,4,4] y, int64[4] n) <float[4] s = {1,1,2,2}> "
        '{ h = Relu(x) y = Resize<mode="nearest">(h,,s) n = Shape(x) }',
        19,
    )
    copy = require_close(model, plan_for())
    assert copy.graph.node("y").inputs[2].dtype == ir.DataType.FLOAT
    assert copy.graph.node("n").inputs[0] is copy.graph.inputs[0]


def test_numbers_beyond_the_type_mask_as_well() -> None:
    model = named(
        "g (float[2,3] x, bool[2,3] m) => (float[2,3] y) <float lowest = {-3.4e38}> "
        "{ h = Where(m, lowest, x) y = Softmax(h) }"
    )
    copy = require_close(model, plan_for())
    masked = {"x": np.ones((2, 3), np.float32), "m": np.ones((2, 3), bool)}
    np.testing.assert_allclose(run_plain(copy, masked)[0], 1 / 3, atol=1e-3)


def test_what_has_no_variant_stays_and_sequences_too() -> None:
    model = named(
        "g (float[2,3] x) => (float[4,3] y) { a = Exp(x) b = Celu(a) "
        "s = SequenceConstruct(a, b) c = ConcatFromSequence<axis=0>(s) y = Neg(c) }"
    )
    copy = require_close(model, plan_for())
    ops = [n.op_type for n in copy.graph if n.op_type != "Cast"]
    assert ops == ["Exp", "Celu", "SequenceConstruct", "ConcatFromSequence", "Neg"]
    assert len(copy.graph) == 9


def test_a_small_network_in_both_types() -> None:
    model = named(CONV_NET)
    require_close(model, plan_for())
    copy = converted(model, plan_for(dtype="bfloat16"))
    assert copy.opset_imports[""] == 22
    kinds = {n.outputs[0].dtype for n in nodes_in(copy.graph) if n.outputs[0].name != "y"}
    assert kinds == {ir.DataType.BFLOAT16}


def test_the_opset_cannot_be_raised() -> None:
    header = '<ir_version: 8, opset_import: ["" : 17, "own" : 1]>'
    model = named(
        f"{header} g (float[1,1,4,4] x) => (float[1,1,4,4] y) "
        "{ h = own.twice(x) y = GlobalMaxPool(h) } "
        '<domain: "own", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }'
    )
    with pytest.raises(ModelError, match="cannot be raised from opset 17 to 22: it has local"):
        CastFloat(plan_for(dtype="bfloat16"))(model)


def test_a_plan_for_another_model_is_refused() -> None:
    model = named("g (float[2] x) => (float[2] y) { y = Exp(x) }")
    with pytest.raises(QuantizationError, match="names 'z', which the model has not"):
        CastFloat(plan_for("z"))(model)


def test_a_pipeline_cannot_hold_a_plan() -> None:
    with pytest.raises(PassError, match="needs the option 'plan'"):
        parse_steps("cast-float")
    with pytest.raises(PassError, match="from Python only"):
        parse_steps("cast-float{plan=x}")


def test_a_model_without_floats_is_not_modified() -> None:
    model = named("g (int64[2] x) => (int64[2] y) { y = Neg(x) }")
    assert not CastFloat(plan_for())(model).modified
