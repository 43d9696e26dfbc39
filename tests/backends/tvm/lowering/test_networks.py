"""Small networks: what is fused with what, and what stays with TVM."""

from __future__ import annotations

import pytest

from tests.backends.tvm.installed import RESIDUAL, model_of, needs_tvm
from tests.backends.tvm.lowering.lowered import agrees

pytestmark = needs_tvm


def test_residual_block() -> None:
    kernels = agrees(model_of(RESIDUAL), batch=2)
    assert kernels["conv"] == 3
    assert kernels["pool"] == 1


def test_bias_addition_and_activation_are_fused() -> None:
    model = model_of("""
        g (float[1, 16, 6, 6] x) => (float[1, 16, 6, 6] y)
        <float[16, 16, 3, 3] v, float[16] b,
         float[16, 16, 1, 1] w,
         float low = {0}, float high = {6}> {
            a = Conv<pads = [1, 1, 1, 1]>(x, v, b)
            c = Clip(a, low, high)
            d = Conv(c, w)
            e = Add(d, c)
            y = Relu(e)
        }
    """)
    assert agrees(model) == {"enter": 1, "conv": 2, "leave": 1}


def test_normalisation_that_nothing_folded_is_fused() -> None:
    model = model_of("""
        g (float[1, 3, 6, 6] x) => (float[1, 20, 6, 6] y)
        <float[20, 3, 1, 1] w, float[20] scale, float[20] shift, float[20] mean,
         float[20] spread> {
            a = Conv(x, w)
            b = Relu(a)
            positive = Abs(spread)
            c = BatchNormalization(b, scale, shift, mean, positive)
            y = Sigmoid(c)
        }
    """)
    assert agrees(model) == {"conv": 1, "leave": 1}


def test_a_squeezed_excitation() -> None:
    model = model_of("""
        g (float[N, 3, 8, 8] x) => (float[N, 20, 8, 8] y)
        <float[20, 3, 3, 3] w, float[8, 20, 1, 1] v, float[20, 8, 1, 1] u> {
            a = Conv<pads = [1, 1, 1, 1]>(x, w)
            p = GlobalAveragePool(a)
            q = Conv(p, v)
            r = Relu(q)
            s = Conv(r, u)
            t = Sigmoid(s)
            y = Mul(a, t)
        }
    """)
    kernels = agrees(model, batch=2)
    assert kernels["conv"] == 3
    assert kernels["map"] == 2


def test_a_shortcut_of_slices_and_zeros_is_a_convolution() -> None:
    model = model_of("""
        g (float[1, 3, 8, 8] x) => (float[1, 32, 4, 4] y)
        <float[16, 3, 3, 3] w, float[32, 16, 3, 3] v, int64[2] starts = {0, 0},
         int64[2] ends = {9, 9}, int64[2] axes = {2, 3}, int64[2] steps = {2, 2},
         int64[8] pads = {0, 8, 0, 0, 0, 8, 0, 0}> {
            a = Conv<pads = [1, 1, 1, 1]>(x, w)
            b = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(a, v)
            c = Slice(a, starts, ends, axes, steps)
            d = Pad(c, pads)
            y = Add(b, d)
        }
    """)
    assert agrees(model) == {"map": 1, "conv": 3, "leave": 1}


@pytest.mark.parametrize("threads", [1, 2])
def test_what_has_no_kernel_goes_out_of_the_blocks_and_back(threads: int) -> None:
    model = model_of("""
        g (float[N, 3, 8, 8] x) => (float[N, 10] y, float[N, 40, 8, 8] z)
        <float[20, 3, 3, 3] w, float[24, 40, 1, 1] v, float[24, 10] u> {
            a = Conv<pads = [1, 1, 1, 1]>(x, w)
            z = Concat<axis = 1>(a, a)
            b = Conv(z, v)
            c = GlobalAveragePool(b)
            d = Flatten(c)
            e = MatMul(d, u)
            y = Softmax(e)
        }
    """)
    kernels = agrees(model, batch=2, threads=threads)
    assert kernels["conv"] == 3
    assert kernels["other"] >= 2


def test_one_value_with_several_readers_keeps_its_kernel() -> None:
    model = model_of("""
        g (float[1, 3, 5, 5] x) => (float[1, 16, 5, 5] y, float[1, 16, 5, 5] a)
        <float[16, 3, 1, 1] w> {
            a = Conv(x, w)
            b = Relu(a)
            c = Add(a, a)
            d = Mul(b, c)
            y = Sub(d, a)
        }
    """)
    assert agrees(model)["conv"] == 1


def test_products_of_two_inputs_are_vectors() -> None:
    model = model_of("""
        g (float[2, 5, 7] x, float[2, 7, 32] z) => (float[2, 5, 32] y) {
            a = MatMul(x, z)
            y = Relu(a)
        }
    """)
    assert agrees(model, threads=2) == {"product": 1, "other": 1}


def test_sums_without_a_kernel_are_vectors() -> None:
    model = model_of("""
        g (float[2, 5, 32] x) => (float[2, 1, 32] y) {
            y = ReduceMax<axes = [1]>(x)
        }
    """)
    assert set(agrees(model, threads=2)) == {"other"}


def test_a_function_with_a_branch_is_left_to_tvm() -> None:
    model = model_of("""
        g (float[1, 3, 5, 5] x) => (float[1, 3, 5, 5] y) <float[3, 3, 1, 1] w> {
            a = Conv(x, w)
            s = ReduceSum<keepdims = 0>(a)
            c = Less(s, s)
            y = If(c) <
                then_branch = t () => (float[1, 3, 5, 5] p) { p = Relu(a) },
                else_branch = e () => (float[1, 3, 5, 5] q) { q = Neg(a) }
            >
        }
    """)
    assert "conv" not in agrees(model)
