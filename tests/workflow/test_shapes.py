from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.errors import UsageError
from bmopt.workflow.shapes import fix_shapes, parse_shapes
from tests.rewriting import parse

TEXT = """
    g (float[N,3,H,W] x, float[N,4] z) => (float[N,3,H,W] y, float[N,K] k)
    { h = Relu(x) y = Neg(h) k = Relu(z) }
"""


def shape(value: ir.Value) -> list[int | str | None]:
    assert value.shape is not None
    return [axis if isinstance(axis, int) else axis.value for axis in value.shape]


def test_entries_are_parsed() -> None:
    assert parse_shapes(["x:1x3x224x224", "input:0:8", "a/b:2x2"]) == {
        "x": (1, 3, 224, 224),
        "input:0": (8,),
        "a/b": (2, 2),
    }
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
        ({"x": (1, 3, 8, 8), "z": (2, 4)}, "axis 'N' is 1 in one place, 2 in another"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fix_shapes(parse(TEXT), shapes)
