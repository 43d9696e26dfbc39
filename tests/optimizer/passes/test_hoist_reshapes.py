from __future__ import annotations

from bmopt.optimizer.passes.hoist_reshapes import HoistReshapes
from tests.rewriting import assert_keeps, assert_rewrites

_TYPES = "float[1, 2, 2] p, float[1, 2, 2] a, float[1, 2, 2] r"
_WEIGHTS = "float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, -9}"


def test_moves_a_reshape_above_a_dense_layer() -> None:
    assert_rewrites(
        HoistReshapes(),
        before=f"""g (float[1, 2, 3] x) => (float[2, 2] y)
            <{_TYPES}, {_WEIGHTS}, int64[2] t = {{-1, 2}}>
            {{ p = MatMul(x, w) a = Add(b, p) r = Relu(a) y = Reshape(r, t) }}""",
        after=f"""g (float[1, 2, 3] x) => (float[2, 2] y)
            <{_WEIGHTS}, int64[2] t = {{2, 3}}>
            {{ s = Reshape(x, t) p = MatMul(s, w) a = Add(b, p) y = Relu(a) }}""",
    )


def test_keeps_a_reshape_that_splits_the_last_axis() -> None:
    text = f"""g (float[1, 2, 3] x) => (float[4, 1] y)
        <{_TYPES}, {_WEIGHTS}, int64[2] t = {{4, 1}}>
        {{ p = MatMul(x, w) a = Add(b, p) r = Relu(a) y = Reshape(r, t) }}"""
    assert "last axis" in assert_keeps(HoistReshapes(), text).refusals[0].reason


def test_keeps_what_others_read_and_a_bias_that_is_computed() -> None:
    read = f"""g (float[1, 2, 3] x) => (float[2, 2] y, float[1, 2, 2] z)
        <{_TYPES}, {_WEIGHTS}, int64[2] t = {{2, 2}}>
        {{ p = MatMul(x, w) a = Add(b, p) y = Reshape(a, t) z = Relu(a) }}"""
    assert_keeps(HoistReshapes(), read)
    fed = f"""g (float[1, 2, 3] x, float[2] c) => (float[2, 2] y)
        <{_TYPES}, {_WEIGHTS}, int64[2] t = {{2, 2}}>
        {{ p = MatMul(x, w) a = Add(c, p) y = Reshape(a, t) }}"""
    assert_keeps(HoistReshapes(), fed)
