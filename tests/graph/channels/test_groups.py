"""Which channels go together, and why some stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.channels.cutting import cut
from bmopt.graph.channels.groups import Group, channels_of
from bmopt.graph.channels.norms import constants_of, weight_norms
from bmopt.graph.channels.owning import own_vectors
from bmopt.graph.channels.selecting import least
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.infer_shapes import InferShapes
from tests.rewriting import parse


def groups(text: str, opset: int = 17) -> dict[str, Group]:
    return {group.name: group for group in channels_of(parsed(text, opset)).groups}


def parsed(text: str, opset: int = 17) -> ir.Model:
    model = parse(text, opset)
    InferShapes()(model)
    return model


def zeros(name: str, *shape: int) -> str:
    values = ",".join(["0"] * int(np.prod(shape)))
    return f"float[{','.join(map(str, shape))}] {name} = {{{values}}}"


def test_a_residual_add_joins_what_it_adds() -> None:
    found = groups(f"""
        g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("b", 4, 4, 1, 1)}, {zeros("c", 2, 4, 1, 1)}>
        {{ p = Conv(x, a)
           q = Conv(p, b)
           r = Add(p, q)
           y = Conv(r, c) }}""")
    assert [group.size for group in found.values()] == [4, 2]
    first, last = found.values()
    assert first.reason == ""
    assert {(s.value, s.axis, s.role) for s in first.slices} == {
        ("a", 0, "writes"), ("b", 1, "reads"), ("b", 0, "writes"), ("c", 1, "reads"),
    }  # fmt: skip
    assert last.reason == "it is in the output 'y'"


def test_a_flatten_spreads_a_channel_over_its_pixels() -> None:
    found = groups(f"""
        g (float[1,3,2,2] x) => (float[1,2] y)
        <{zeros("a", 2, 3, 1, 1)}, {zeros("b", 8, 2)}>
        {{ p = Conv(x, a)
           f = Flatten(p)
           y = Gemm(f, b) }}""")
    (reads,) = [s for g in found.values() for s in g.slices if s.role == "reads"]
    assert reads.channels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_pad_makes_channels_that_go_with_those_added_to_them() -> None:
    found = groups(f"""
        g (float[1,2,4,4] x) => (float[1,1,4,4] y)
        <{zeros("a", 2, 2, 1, 1)}, {zeros("b", 4, 2, 1, 1)}, {zeros("c", 1, 4, 1, 1)},
         int64[8] pads = {{0,1,0,0,0,1,0,0}}>
        {{ p = Conv(x, a)
           w = Pad(p, pads)
           q = Conv(p, b)
           s = Add(w, q)
           y = Conv(s, c) }}""")
    assert {group.name: group.size for group in found.values() if not group.reason} == {
        "node": 2, "node_1": 1, "node_1#2": 1,
    }  # fmt: skip


def test_reasons_say_what_stands_in_the_way() -> None:
    found = groups(f"""
        g (float[1,3,4,4] x, float[2,4,1,1] w) => (float[1,2,4,4] y, float[1,1,4,4] z)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("b", 4, 3, 1, 1)}, {zeros("c", 1, 4, 1, 1)}>
        {{ p = Conv(x, a)
           y = Conv(p, w)
           q = Conv(x, b)
           s = Softmax<axis = 1>(q)
           z = Conv(s, c) }}""")
    reasons = [group.reason for group in found.values()]
    assert "is no constant" in reasons[0]
    assert reasons[1].startswith("Softmax")
    assert reasons[2] == "it is in the output 'z'"


def test_a_weight_that_something_else_reads_keeps_its_channels() -> None:
    found = groups(f"""
        g (float[1,3,4,4] x) => (float[1,1,4,4] y, float[4,3,1,1] copy)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("c", 1, 4, 1, 1)}>
        {{ p = Conv(x, a)
           copy = Identity(a)
           y = Conv(p, c) }}""")
    assert "reads the same constant" in next(iter(found.values())).reason


def test_a_vector_that_layers_share_is_each_ones_own() -> None:
    model = parsed(
        f"""g (float[1,3,4,4] x) => (float[1,1,4,4] y)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("b", 4, 4, 1, 1)}, {zeros("c", 1, 4, 1, 1)},
         {zeros("bias", 4)}>
        {{ p = Conv(x, a, bias) q = Conv(p, b, bias) y = Conv(q, c) }}"""
    )
    assert [one.size for one in channels_of(model).groups if not one.reason] == [4]
    assert own_vectors(model)
    channels = channels_of(model)
    first, second = (one for one in channels.groups if not one.reason)
    cut(model, channels, {first.name: (0,), second.name: (1, 2)})
    sizes = [node.inputs[2].shape for node in list(model.graph)[:2] if node.inputs[2] is not None]
    assert sizes == [(3,), (2,)]
    assert not own_vectors(model)


def test_what_computed_sizes_say_of_others_stays() -> None:
    found = groups(f"""
        g (float[1,3,4,4] x) => (float[1,1,4,4] y, int64[4] n)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("b", 1, 4, 1, 1)}>
        {{ p = Conv(x, a) n = Shape(p) q = Reshape(p, n) y = Conv(q, b) }}""")
    assert "reads its size" in next(iter(found.values())).reason


def test_sizes_that_are_computed_for_one_node_are_changed_for_it_alone() -> None:
    model = parsed(
        f"""g (float[N,3,4,4] x) => (float[N,1,4,4] y, float[N,4,16] z)
        <{zeros("a", 4, 3, 1, 1)}, {zeros("b", 1, 4, 1, 1)}, {zeros("d", 4, 3, 1, 1)},
         int64[2] sizes = {{4, 16}}, int64[4] wide = {{0, 0, 4, 4}}>
        {{ p = Conv(x, a) r = Conv(x, d) n = Shape<start = 0, end = 1>(x)
           t = Concat<axis = 0>(n, sizes) q = Reshape(p, t) z = Reshape(r, t)
           w = Reshape(q, wide) y = Conv(w, b) }}"""
    )
    channels = channels_of(model)
    (group,) = (one for one in channels.groups if not one.reason)
    cut(model, channels, {group.name: (0,)})
    concats = [node for node in model.graph if node.op_type == "Concat"]
    made = [constant_array(node.inputs[1]) for node in concats]
    assert sorted(array.tolist() for array in made if array is not None) == [[3, 16], [4, 16]]


def test_a_group_of_group_normalization_goes_whole() -> None:
    model = parsed(
        f"""g (float[1,1,4,4] x) => (float[1,1,4,4] y)
        <{zeros("a", 4, 1, 1, 1)}, {zeros("c", 1, 4, 1, 1)}, {zeros("s", 4)}, {zeros("b", 4)}>
        {{ p = Conv(x, a) q = GroupNormalization<num_groups = 2>(p, s, b) y = Conv(q, c) }}""",
        opset=21,
    )
    channels = channels_of(model)
    (group,) = (one for one in channels.groups if not one.reason)
    assert group.size == 2
    norm = model.graph.node(1)
    cut(model, channels, {group.name: (0,)})
    assert norm.attributes["num_groups"].as_int() == 1
    assert [value.shape == (2,) for value in norm.inputs[1:] if value is not None] == [True, True]


def test_the_least_go_and_one_stays() -> None:
    model = parsed(f"""
        g (float[1,2,4,4] x) => (float[1,1,4,4] y)
        <float[3,2,1,1] a = {{5,1, -1,1, 0,0}}, {zeros("c", 1, 3, 1, 1)}>
        {{ p = Conv(x, a)
           y = Conv(p, c) }}""")
    group = channels_of(model).groups[0]
    norms = weight_norms(constants_of(model), group, "l1")
    np.testing.assert_allclose(norms, np.array([6, 2, 0]) / (8 / 3))
    assert least(group, norms, 1) == (2,)
    assert least(group, norms, 9) == (1, 2)


def test_parts_of_a_split_are_groups_of_their_own() -> None:
    found = groups(f"""
        g (float[1,2,4,4] x) => (float[1,4,4,4] y)
        <{zeros("a", 5, 2, 1, 1)}, {zeros("c", 4, 2, 1, 1)}, {zeros("d", 4, 3, 1, 1)},
         int64[2] parts = {{2,3}}>
        {{ p = Conv(x, a)
           l, r = Split<axis = 1>(p, parts)
           m = Conv(l, c)
           n = Conv(r, d)
           y = Add(m, n) }}""")
    assert [group.size for group in found.values()] == [2, 3, 4]
