from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.calibration.taps import tap
from bmopt.errors import CalibrationError

MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x, int64[2] shape, float[4] w) => (float[N, 4] y)
  <float[4] w = {1, 2, 3, 4}, float[4] b = {1, 1, 1, 1}>
{
  c = Constant <value = float[4] {5, 6, 7, 8}> ()
  folded = Add(c, b)
  h = Mul(x, w)
  r = Reshape(h, shape)
  t = Transpose(r)
  unused = Neg(h)
  k = Add(t, folded)
  y = Relu(k)
}
"""


def model() -> ir.Model:
    return ir.from_onnx_text(MODEL)


def test_taps_inputs_and_outputs_that_depend_on_them() -> None:
    tapped = tap(model())
    assert list(tapped.sources) == ["x", "h", "r", "t", "y"]
    assert tapped.inputs == ("x",)
    assert tapped.outputs == ("h", "y")
    assert [value.name for value in tapped.model.graph.outputs] == ["y", "h"]


def test_rearranged_tensor_is_read_off_its_source() -> None:
    tapped = tap(model(), ["t"])
    assert tapped.sources == {"t": "h"}
    assert tapped.outputs == ("h",)


def test_tensor_asked_for_exactly_is_tapped_itself() -> None:
    tapped = tap(model(), exact=["r"])
    assert (tapped.sources["r"], tapped.sources["t"]) == ("r", "r")


def test_leaves_the_model_alone_and_shares_its_weights() -> None:
    original = model()
    tapped = tap(original)
    assert [value.name for value in original.graph.outputs] == ["y"]
    weight = original.graph.initializers["w"].const_value
    assert tapped.model.graph.initializers["w"].const_value is weight


def test_taps_a_tensor_that_only_a_subgraph_reads() -> None:
    tapped = tap(
        ir.from_onnx_text("""
<ir_version: 8, opset_import: ["" : 17]>
g (bool p, float[2] x) => (float[2] y) {
  h = Neg(x)
  y = If (p) <
    then_branch = a () => (float[2] u) { u = Identity(h) },
    else_branch = b () => (float[2] v) { v = Abs(h) }
  >
}
""")
    )
    assert list(tapped.sources) == ["x", "h", "y"]


@pytest.mark.parametrize("name", ["nothing", "w", "c", "folded", "shape", "unused"])
def test_refuses_a_name_that_is_no_activation(name: str) -> None:
    with pytest.raises(CalibrationError, match=f"tensor '{name}': is no float activation"):
        tap(model(), ["x", name])


def test_refuses_a_model_without_float_activations() -> None:
    integers = ir.from_onnx_text(
        "<ir_version: 8, opset_import: ['' : 17]> g (int64[2] x) => (int64[2] y) "
        "{ y = Identity(x) }".replace("'", '"')
    )
    integers.graph.outputs[0].dtype = ir.DataType.INT64
    with pytest.raises(CalibrationError, match="computes on no floats; compile it for an fp32"):
        tap(integers)
