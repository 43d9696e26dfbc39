from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.errors import UsageError
from bmopt.workflow.shapes import engine_profiles, fix_shapes, parse_shapes, static_axes
from tests.rewriting import parse

TEXT = """
    g (float[N,3,H,W] x, float[N,4] z) => (float[N,3,H,W] y, float[N,K] k)
    { h = Relu(x) y = Neg(h) k = Relu(z) }
"""


def shape(value: ir.Value) -> list[int | str | None]:
    assert value.shape is not None
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape]


def test_entries_are_parsed() -> None:
    found = parse_shapes(["x:1x3x224x224", "input:0:8", "a/b:1x2:2x2:8x2", "in:0:1:2:4"])
    assert {name: str(profile) for name, profile in found.items()} == {
        "x": "1x3x224x224:1x3x224x224:1x3x224x224",
        "input:0": "8:8:8",
        "a/b": "1x2:2x2:8x2",
        "in:0": "1:2:4",
    }
    assert static_axes(found)["a/b"] == [None, 2]
    assert parse_shapes([]) == {}


@pytest.mark.parametrize(
    "entry",
    ["", "x", "x:", ":1", "x:1x", "x:ax3", "x:1,3", "x:-1x3", "x:1x3 ", "x:1.5", "x:٣"],
)
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="write it as input:1x3x224x224"):
        parse_shapes([entry])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["x:0x3"], "at least 1"),
        (["x:1x3", "x:2x3"], "was given a shape already"),
        (["x:99999999999"], "write it as"),
        (["x:1x3:2x3:4"], "differ in rank"),
        (["x:2x3:1x3:4x3"], "the smallest, the usual and the largest"),
        (["x:1x3:2x3:1x3"], "the smallest, the usual and the largest"),
        (["x:0x3:2x3:4x3"], "at least 1"),
    ],
)
def test_an_impossible_entry_is_refused(entries: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_shapes(entries)


def test_a_symbol_gets_its_number_everywhere() -> None:
    model = parse(TEXT)
    fix_shapes(model, {"x": (2, 3, 8, 9)})
    assert [shape(value) for value in model.graph.inputs] == [[2, 3, 8, 9], [2, 4]]
    assert [shape(value) for value in model.graph.outputs] == [[2, 3, 8, 9], [2, "K"]]


def test_inferred_dynamic_shapes_are_forgotten() -> None:
    model = parse(TEXT)
    inner = model.graph[0].outputs[0]
    inner.shape = ir.Shape(["N", 3, "H", "W"])
    fix_shapes(model, {"x": (2, 3, 8, 9)})
    assert inner.shape is None


def test_no_shapes_change_nothing() -> None:
    model = parse(TEXT)
    fix_shapes(model, {})
    assert shape(model.graph.inputs[0]) == ["N", 3, "H", "W"]


def test_an_input_without_a_shape_gets_one() -> None:
    model = parse("g (float[] x) => (float[] y) { y = Relu(x) }")
    model.graph.inputs[0].shape = None
    fix_shapes(model, {"x": (2, 3)})
    assert shape(model.graph.inputs[0]) == [2, 3]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1,)}, "no input 'y'; the model has x, z"),
        ({"x": (1, 3)}, "input 'x' has 4 axes, 2 were given"),
        ({"x": (1, 4, 8, 8)}, "input 'x' fixes an axis to 3, not 4"),
        ({"x": (1, None, 8, 8)}, "input 'x' fixes an axis to 3, not a range"),
        ({"x": (1, 3, 8, 8), "z": (2, 4)}, "axis 'N' is 1 in one place, 2 in another"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: dict[str, tuple[int | None, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fix_shapes(parse(TEXT), shapes)


def test_axes_with_a_range_stay_dynamic() -> None:
    model = parse(TEXT)
    fix_shapes(model, {"x": (None, 3, 8, 9)})
    assert [shape(value) for value in model.graph.inputs] == [["N", 3, 8, 9], ["N", 4]]


def test_profiles_of_an_engine() -> None:
    model = parse(TEXT)
    given = parse_shapes(["x:1x3x8x8:2x3x8x8:4x3x16x16"])
    profiles = engine_profiles(model, given, 16)
    assert {name: str(p) for name, p in profiles.items()} == {
        "x": "1x3x8x8:2x3x8x8:4x3x16x16",
        "z": "1x4:2x4:4x4",
    }


def test_an_input_with_a_batch_of_its_own_gets_the_usual_profile() -> None:
    model = parse("g (float[T,N,8] x, float[M,4] z) => (float[M,4] y) { y = Relu(z) }")
    given = parse_shapes(["x:1x1x8:2x1x8:4x1x8"])
    assert str(engine_profiles(model, given, 16)["z"]) == "1x4:1x4:16x4"


def test_a_symbol_has_one_range() -> None:
    model = parse("g (float[T,N] x, float[N,4] z) => (float[N,4] y) { y = Relu(z) }")
    given = parse_shapes(["x:1x1:2x1:4x8", "z:1x4:2x4:8x4"])
    with pytest.raises(UsageError, match="axis 'N' is 1:1:8 in one input, 1:2:8 in another"):
        engine_profiles(model, given, 16)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            "float[N,3,H,W] x",
            r"input 'x' \[N, 3, H, W\] has .* --shapes x:1x3x224x224, or --shapes x:MIN:OPT:MAX",
        ),
        (
            "float[N,T] x, float[2,N,T] s",
            r"inputs 'x' \[N, T\], 's' \[2, N, T\] have .* x:1x128 --shapes s:2x1x128, or",
        ),
    ],
    ids=["image", "sequences"],
)
def test_whoever_has_to_give_shapes_is_told_all_of_them(inputs: str, message: str) -> None:
    model = parse(f"g ({inputs}) => (float y) {{ y = ReduceSum<keepdims=0>(x) }}")
    with pytest.raises(UsageError, match=message):
        engine_profiles(model, {}, 16)


def test_an_input_of_fixed_shape_needs_no_profile() -> None:
    model = parse("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    assert engine_profiles(model, {}, 16) == {}
