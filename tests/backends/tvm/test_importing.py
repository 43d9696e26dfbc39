from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bmopt.backends.tvm import importing
from bmopt.backends.tvm.names import MAIN
from bmopt.errors import BuildError
from tests.backends.tvm.installed import RESIDUAL, model_of, needs_tvm, saved

_SUPPORTED = frozenset({"Relu", "Add", "If", "Constant", "Attention"})


def _refusal(model: onnx.ModelProto, supported: frozenset[str] = _SUPPORTED) -> str:
    with pytest.raises(BuildError) as found:
        importing.require_supported(model, supported)
    return str(found.value)


def test_all_missing_ops_are_named_at_once() -> None:
    model = model_of("""
        g (float[4] x) => (float[4] y) {
            [one] a = Tan(x)
            [two] b = Relu(a)
            [three] c = Tan(b)
            [four] y = com.microsoft.QuickGelu(c)
        }
    """)
    assert _refusal(model) == (
        "TVM's importer has no Tan (2, first 'one'), com.microsoft.QuickGelu (1, first 'four'); "
        "use a target of ONNX Runtime (ort-...), or export the model without these ops"
    )


def test_ops_of_branches_are_looked_at() -> None:
    model = model_of("""
        g (bool c, float[4] x) => (float[4] y) {
            y = If(c) <
                then_branch = t () => (float[4] p) { [inner] p = Tan(x) },
                else_branch = e () => (float[4] q) { q = Relu(x) }
            >
        }
    """)
    assert "Tan (1, first 'inner')" in _refusal(model)


def test_an_op_of_another_domain_is_another_op() -> None:
    model = model_of("g (float[4] x) => (float[4] y) { [own] y = com.microsoft.Relu(x) }")
    assert "com.microsoft.Relu (1, first 'own')" in _refusal(model)
    known = model_of("g (float[4] x) => (float[4] y) { y = com.microsoft.Attention(x) }")
    importing.require_supported(known, _SUPPORTED)


def test_inputs_are_what_has_to_be_fed(tmp_path: Path) -> None:
    model = model_of("""
        g (float[4] x, float[4] w) => (float[4] y) <float[4] w = {1, 2, 3, 4}> { y = Add(x, w) }
    """)
    found = importing.read_proto(saved(model, tmp_path))
    assert [port.name for port in importing.ports_of(found.graph.input)] == ["x"]


def test_axes_without_a_name_get_one_each(tmp_path: Path) -> None:
    model = model_of("g (float[A, B, N] x) => (float[A, B, N] y) { y = Relu(x) }")
    for axis in model.graph.input[0].type.tensor_type.shape.dim[:2]:
        axis.Clear()
    found = importing.read_proto(saved(model, tmp_path))
    assert importing.ports_of(found.graph.input)[0].shape == ("x_0", "x_1", "N")


def test_symbols_are_no_sums(tmp_path: Path) -> None:
    model = model_of("g (float[A, B] x) => (float[A, B] y) { y = Relu(x) }")
    first, second = model.graph.input[0].type.tensor_type.shape.dim
    first.dim_param, second.dim_param = "batch-size", "gpu/data"
    found = importing.read_proto(saved(model, tmp_path))
    assert importing.ports_of(found.graph.input)[0].shape == ("batch_size", "gpu_data")


def test_an_input_of_unknown_rank_is_refused(tmp_path: Path) -> None:
    model = model_of("g (float[] x) => (float[] y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(BuildError, match="input 'x' has no declared rank"):
        importing.read_proto(saved(model, tmp_path))


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    model = model_of("g (seq(float[4]) x) => (float[4] y) { y = ConcatFromSequence<axis = 0>(x) }")
    with pytest.raises(BuildError, match="input 'x' is no tensor"):
        importing.read_proto(saved(model, tmp_path))


@needs_tvm
def test_the_table_is_the_importers_own() -> None:
    supported = importing.supported_ops()
    assert {"Conv", "QuantizeLinear", "If", "LayerNormalization"} <= supported
    assert not {"LSTM", "Loop", "QLinearConv"} & supported


@needs_tvm
def test_variables_are_named_after_nodes() -> None:
    module = importing.import_model(model_of(RESIDUAL))
    names = [b.var.name for block in module[MAIN].body.blocks for b in block.bindings]
    nodes = [name for name in names if name.startswith(importing.MARK)]
    assert nodes == [importing.mark_of(index) for index in range(8)]


@needs_tvm
def test_one_output_is_a_tuple_too() -> None:
    module = importing.import_model(model_of("g (float[4] x) => (float[4] y) { y = Relu(x) }"))
    assert len(module[MAIN].ret_ty.fields) == 1


@needs_tvm
def test_the_refused_node_is_named() -> None:
    model = model_of("""
        g (float[N, 4] x, int64[4] pads) => (float[N, M] y) { [padded] y = Pad(x, pads) }
    """)
    with pytest.raises(BuildError) as found:
        importing.import_model(model)
    assert str(found.value) == (
        "TVM's importer refuses node 'padded' (Pad): Dynamic pads are not supported yet.; fixed "
        "sizes may help: --shapes x:1x4"
    )


@needs_tvm
def test_a_refusal_has_the_names_of_the_model() -> None:
    model = model_of("""
        g (float[N, 4] x) => (int64[2] y) { [sizes] s = Shape(x) [doubled] y = Add(s, s) }
    """)
    with pytest.raises(BuildError) as found:
        importing.import_model(model)
    assert str(found.value) == (
        "TVM's importer refuses the model: Node 'doubled' cannot handle ShapeExpr inputs.; fixed "
        "sizes may help: --shapes x:1x4"
    )


@needs_tvm
def test_sizes_that_are_taken_from_a_shape_keep_their_symbols() -> None:
    """As a vision transformer makes its class token as often as there are images."""
    module = importing.import_model(
        model_of("""
        g (float[N, 3, 8] x) => (float[N, 4, 8] y)
        <int64[1] zero = {0}, int64[2] rest = {1, 8}> {
            s = Shape(x)
            n = Gather(s, zero)
            t = Concat<axis = 0>(n, rest)
            token = ConstantOfShape(t)
            y = Concat<axis = 1>(token, x)
        }
    """)
    )
    first, *others = module[MAIN].ret_ty.fields[0].shape.values
    assert str(first) == "N"
    assert [int(size) for size in others] == [4, 8]
