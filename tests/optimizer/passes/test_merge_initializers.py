from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.passes.merge_initializers import MergeInitializers
from tests.rewriting import assert_keeps, parse, random_feeds, run_plain

_WEIGHTS = ", ".join(str(n) for n in range(20))


def _merge(text: str) -> ir.Model:
    model = parse(text)
    feeds = random_feeds(model)
    expected = run_plain(model, feeds)
    assert MergeInitializers()(model).modified
    assert not MergeInitializers()(model).modified, "a second run must change nothing"
    for want, got in zip(expected, run_plain(model, feeds), strict=True):
        np.testing.assert_array_equal(got, want)
    return model


def test_merges_equals_and_drops_what_is_unused() -> None:
    model = _merge(
        """g (float[2] x) => (float[2] y)
        <float[2] a = {1, 2}, float[2] b = {1, 2}, float[2] c = {1, 3}, float[2] d = {9, 9}>
        { h = Add(x, a)  i = Mul(h, b)  y = Sub(i, c) }"""
    )
    assert set(model.graph.initializers) == {"a", "c"}


def test_same_numbers_of_another_type_or_shape_differ() -> None:
    text = """g (float[1, 2] x, double[2] z) => (float[1, 2] y, double[2] w)
        <float[2] a = {1, 2}, float[1, 2] b = {1, 2}, double[2] c = {1, 2}>
        { h = Add(x, a)  y = Add(h, b)  w = Add(z, c) }"""
    assert_keeps(MergeInitializers(), text)


def test_an_initialiser_that_can_be_fed_is_not_merged() -> None:
    model = parse(
        """g (float[2] x, float[2] b) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {1, 2}>
        { h = Add(x, a)  y = Mul(h, b) }"""
    )
    assert model.graph.inputs[1].is_initializer()
    assert not MergeInitializers()(model).modified
    assert set(model.graph.initializers) == {"a", "b"}


def test_large_ones_are_shared_across_sub_graphs() -> None:
    model = _merge(
        f"""g (bool c, float[20] x) => (float[20] y) {{ y = If(c) <
            then_branch = t () => (float[20] p) <float[20] v = {{{_WEIGHTS}}}> {{ p = Add(x, v) }},
            else_branch = e () => (float[20] q) <float[20] w = {{{_WEIGHTS}}}> {{ q = Sub(x, w) }}
        > }}"""
    )
    (kept,) = model.graph.initializers.values()
    assert kept.const_value is not None
    np.testing.assert_array_equal(kept.const_value.numpy(), np.arange(20, dtype=np.float32))
    assert not any(graph.initializers for graph in model.graph.subgraphs())


def test_small_ones_stay_in_their_sub_graph() -> None:
    text = """g (bool c, float[2] x) => (float[2] y) { y = If(c) <
        then_branch = t () => (float[2] p) <float[2] v = {1, 2}> { p = Add(x, v) },
        else_branch = e () => (float[2] q) <float[2] w = {1, 2}> { q = Sub(x, w) }> }"""
    assert_keeps(MergeInitializers(), text)
