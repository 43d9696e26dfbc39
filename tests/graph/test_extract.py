from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.graph.concrete_values import KnownValue, concrete_values
from bmopt.graph.extract import Region, Regions, extract, with_outputs
from tests.rewriting import parse, run_plain

BRANCHES = """
g (float[2] x) => (float[2] y, float[2] z) {
  a = Relu(x)
  b = Neg(a)
  c = Abs(a)
  y = Add(b, c)
  z = Exp(c)
}
"""
CONTROL = """
g (float[2] x, bool c) => (float[2] y) {
  a = Relu(x)
  b = Neg(x)
  y = If(c) <
    then_branch = t () => (float[2] p) { p = Add(a, b) },
    else_branch = e () => (float[2] q) {
      q = If(c) <
        then_branch = tt () => (float[2] r) { r = Abs(a) },
        else_branch = ee () => (float[2] s) { s = Exp(x) }
      >
    }
  >
}
"""


def named(text: str) -> tuple[ir.Model, Regions]:
    """Return a model whose nodes have the names of their first outputs."""
    model = parse(text)
    for node in model.graph:
        node.name = node.outputs[0].name
    return model, Regions(model)


def valid(model: ir.Model) -> ir.Model:
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def cut(text: str, *nodes: str) -> ir.Model:
    model, regions = named(text)
    region = regions.of(nodes)
    assert region is not None
    return valid(extract(model, region, concrete_values(model)))


def test_region_shows_what_none_of_its_nodes_reads() -> None:
    _, regions = named(BRANCHES)
    assert regions.whole() == Region(("a", "b", "c", "y", "z"), ("x",), ("y", "z"))
    assert regions.of(["b", "c"]) == Region(("b", "c"), ("a",), ("b", "c"))
    assert regions.of(["z", "a"]) == Region(("a", "z"), ("x", "c"), ("z", "a"))
    assert regions.of([]) is None


def test_given_outputs_leave_out_what_they_do_not_depend_on() -> None:
    _, regions = named(BRANCHES)
    assert regions.of(["a", "b", "c", "z"], ["z"]) == Region(("a", "c", "z"), ("x",), ("z",))
    assert regions.of(["a", "b"], ["z"]) is None


def test_nodes_above_and_below() -> None:
    _, regions = named(BRANCHES)
    assert regions.above("y", regions.nodes) == ["a", "b", "c", "y"]
    assert regions.above("y", ["b", "y", "z"]) == ["b", "y"]
    assert regions.below("c", regions.nodes) == ["c", "y", "z"]


def test_a_dead_node_shows_its_output() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Relu(x)  d = Neg(x) }"
    _, regions = named(text)
    assert regions.whole() == Region(("y", "d"), ("x",), ("y", "d"))
    assert ops(cut(text, "d")) == ["Neg"]


def test_optional_outputs_that_nobody_reads_are_not_shown() -> None:
    text = """
    g (float[4] x) => (float[2] y) { p, q = Split(x)  y = Relu(p) }
    """
    model, regions = named(text)
    assert regions.of(["p"]) == Region(("p",), ("x",), ("p",))
    assert [v.name for v in cut(text, "p").graph.outputs] == ["p"]
    assert model.graph[0].outputs[1].name == "q"


def test_inputs_at_cuts_have_types_and_shapes() -> None:
    model = cut(BRANCHES, "y", "z")
    assert [(v.name, v.dtype, v.shape) for v in model.graph.inputs] == [
        ("b", ir.DataType.FLOAT, ir.Shape([2])),
        ("c", ir.DataType.FLOAT, ir.Shape([2])),
    ]


def test_sizes_of_outputs_stay_open_where_inputs_vary() -> None:
    text = BRANCHES.replace("float[2] x", "float[N] x").replace("[2]", "[M]")
    model, regions = named(text)
    known = {name: KnownValue(ir.DataType.FLOAT, (5,)) for name in "xabcyz"}
    region = regions.of(["a", "b"])
    assert region is not None
    part = valid(extract(model, region, known))
    assert part.graph.outputs[0].shape == ir.Shape([None])
    assert part.graph.inputs[0].shape == ir.Shape(["N"])


def test_bodies_belong_to_their_node_and_read_from_outside() -> None:
    _, regions = named(CONTROL)
    assert regions.of(["y"]) == Region(("y",), ("x", "c", "a", "b"), ("y",))
    model = cut(CONTROL, "y")
    feeds = {"x": [1, 2], "a": [3, 4], "b": [5, 6]}
    arrays = {name: np.array(value, np.float32) for name, value in feeds.items()}
    for flag, expected in ((True, [8, 10]), (False, np.exp([1, 2]))):
        found = run_plain(model, {**arrays, "c": np.array(flag)})[0]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_bodies_that_stay_behind_read_nothing() -> None:
    text = """
    g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
      a = Relu(x)
      b = Abs(a)
      y = If(c) <
        then_branch = t () => (float[2] p) { p = Add(a, w) },
        else_branch = e () => (float[2] q) { q = Neg(b) }
      >
    }
    """
    model = cut(text, "b")
    assert ops(model) == ["Abs"]
    assert not model.graph.initializers


def test_constants_come_along_and_others_stay_behind() -> None:
    text = """
    g (float[2] x) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {3, 4}> {
      k = Constant<value_floats = [1.0, 1.0]>()
      a = Add(x, w)
      b = Add(a, v)
      y = Mul(b, k)
    }
    """
    model, regions = named(text)
    assert regions.nodes == ("a", "b", "y")
    first, last = cut(text, "a"), cut(text, "y")
    assert list(first.graph.initializers) == ["w"]
    assert (ops(first), ops(last)) == (["Add"], ["Constant", "Mul"])
    assert not last.graph.initializers
    assert first.graph.initializers["w"].const_value is not None
    assert len(model.graph.initializers) == 2


def test_only_functions_that_are_called_stay() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "d" : 1]>
    g (float[2] x) => (float[2] y) { a = d.f(x)  y = d.h(a) }
    <opset_import: ["" : 17, "d" : 1], domain: "d"> f (p) => (q) { q = d.g(p) }
    <opset_import: ["" : 17], domain: "d"> g (p) => (q) { q = Relu(p) }
    <opset_import: ["" : 17], domain: "d"> h (p) => (q) { q = Abs(p) }
    """
    model, regions = named(text)
    for node, expected in (("a", {"f", "g"}), ("y", {"h"})):
        region = regions.of([node])
        assert region is not None
        part = extract(model, region, {"a": KnownValue(ir.DataType.FLOAT, (2,))})
        assert {identifier[1] for identifier in part.functions} == expected


def test_passed_on_inputs_are_no_outputs_of_a_region() -> None:
    _, regions = named("g (float[2] x) => (float[2] x, float[2] y) { y = Relu(x) }")
    assert regions.outputs == ("y",)
    assert regions.whole().outputs == ("y",)


@given(chosen=st.sets(st.sampled_from("abcyz"), min_size=1))
def test_every_part_computes_what_the_whole_does(chosen: set[str]) -> None:
    model, regions = named(BRANCHES)
    x = np.array([-0.5, 2.0], np.float32)
    names = ["a", "b", "c", "y", "z"]
    whole = dict(zip(names, run_plain(with_outputs(model, names), {"x": x}), strict=True))
    region = regions.of(chosen)
    assert region is not None
    part = valid(extract(model, region, concrete_values(model)))
    feeds = {name: {**whole, "x": x}[name] for name in region.inputs}
    for name, value in zip(region.outputs, run_plain(part, feeds), strict=True):
        np.testing.assert_array_equal(value, whole[name])


def test_with_outputs_leaves_the_model_alone() -> None:
    model, _ = named(BRANCHES)
    assert [v.name for v in with_outputs(model, ["c", "x"]).graph.outputs] == ["c", "x"]
    assert [v.name for v in model.graph.outputs] == ["y", "z"]
    with pytest.raises(KeyError):
        with_outputs(model, ["nothing"])
