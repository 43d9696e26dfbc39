from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.runner import Array
from bmopt.graph.products import product_of
from bmopt.graph.sparsity import has_two_four, is_two_four, sparsity_of
from tests.rewriting import parse

CONV = "g (float[1,8,5,5] x) => (float y) { y = Conv(x, w) }"
GEMM = "g (float[3,8] x) => (float y) { y = Gemm(x, w) }"
GEMM_T = "g (float[3,8] x) => (float y) { y = Gemm<transB = 1>(x, w) }"
MATMUL = "g (float[3,8] x) => (float y) { y = MatMul(x, w) }"
TRANSPOSED = "g (float[1,8,5,5] x) => (float y) { y = ConvTranspose(x, w) }"


def model_of(text: str, weight: Array) -> ir.Model:
    model = parse(text)
    node = model.graph[0]
    value = ir.Value(name="w", const_value=ir.tensor(weight), shape=ir.Shape(weight.shape))
    model.graph.register_initializer(value)
    node.replace_input_with(1, value)
    return model


def sparse(shape: tuple[int, ...], axis: int, kept: int) -> Array:
    """Return ones of which only ``kept`` of every four along ``axis`` are left."""
    weight = np.ones(shape, np.float32)
    index = np.arange(shape[axis]) % 4 >= kept
    np.moveaxis(weight, axis, 0)[index] = 0
    return weight


@pytest.mark.parametrize(
    ("text", "shape", "axis"),
    [
        (CONV, (6, 8, 3, 3), 1),
        (TRANSPOSED, (8, 6, 3, 3), 0),
        (GEMM, (8, 6), 0),
        (GEMM_T, (6, 8), 1),
        (MATMUL, (8, 6), 0),
    ],
)
def test_sparsity_is_along_the_summed_axis(text: str, shape: tuple[int, ...], axis: int) -> None:
    for kept in range(5):
        model = model_of(text, sparse(shape, axis, kept))
        assert has_two_four(model) is (kept in (1, 2))


def test_zeros_along_another_axis_are_no_sparsity() -> None:
    assert not has_two_four(model_of(CONV, sparse((8, 8, 3, 3), 0, 2)))


def test_channels_that_do_not_divide_into_fours() -> None:
    product = product_of(model_of(CONV, np.zeros((6, 6, 3, 3), np.float32)).graph[0])
    assert product is not None
    assert not is_two_four(product)


def test_zeros_and_their_patterns_are_told() -> None:
    weight = sparse((6, 8, 3, 3), 1, 1)
    weight[:, 4:] = 0
    found = sparsity_of(model_of(CONV, weight))
    assert len(found) == 1
    assert (found[0].op_type, found[0].shape) == ("Conv", (6, 8, 3, 3))
    assert (found[0].weights, found[0].zeros) == (432, 378)
    assert found[0].patterns == ("1:4", "2:4", "1:2", "2:8", "4:8")
    assert {one.block: one.share for one in found[0].blocks} == {
        "1x4": 0.5,
        "4x1": 0.875,
        "4x4": 0.5,
    }


def test_a_dense_weight_and_one_of_zeros_have_no_pattern() -> None:
    for weight in (np.ones((6, 8, 3, 3), np.float32), np.zeros((6, 8, 3, 3), np.float32)):
        (found,) = sparsity_of(model_of(CONV, weight))
        assert found.patterns == ()
        assert found.blocks == ()


def test_products_inside_bodies_are_told() -> None:
    model = parse(
        """g (bool c, float[1,4] x) => (float[1,2] y)
        <float[4,2] w = {1,0,2,0,0,3,0,4}>
        { y = If(c) <
            then_branch = t () => (float[1,2] a) { a = MatMul(x, w) },
            else_branch = e () => (float[1,2] b) { b = MatMul(x, w) } > }"""
    )
    found = sparsity_of(model)
    assert [one.patterns for one in found] == [("2:4",), ("2:4",)]


@pytest.mark.parametrize(("point", "zeros"), [(0, 4), (3, 2)])
def test_quantised_weights_are_looked_into(point: int, zeros: int) -> None:
    model = parse(
        f"""g (float[N,4] x) => (float[N,2] y)
        <int8[4,2] w = {{3,0,0,3,0,1,1,0}}, float[2] s = {{1,2}}, int8[2] p = {{0,0}},
         float one = {{1}}, int8 z = {{{point}}}>
        {{ d = DequantizeLinear{"<axis=1>(w, s, p)" if not point else "(w, one, z)"}
           y = MatMul(x, d) }}"""
    )
    (found,) = sparsity_of(model)
    assert found.zeros == zeros
    assert has_two_four(model) is (point == 0)


def test_a_float_weight_behind_a_pair_is_looked_into() -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,2] y)
        <float[4,2] w = {3,0,0,3,0,1,1,0}, float s = {0.1}, int8 z = {0}>
        { q = QuantizeLinear(w, s, z)
          d = DequantizeLinear(q, s, z)
          y = MatMul(x, d) }"""
    )
    assert has_two_four(model)
