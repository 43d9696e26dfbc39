from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.sequence.bias_home import BiasHome, bias_home, own_bias
from bmopt.calibration.sequence.layer import is_matrix, refinable
from bmopt.core.plan import QuantPlan, WeightQuant
from bmopt.graph.products import Product, product_of
from tests.optimizer.literals import weights
from tests.quantizing import named

W = weights("w", (4, 4))
ROW = "float[4] b = {1, 2, 3, 4}"


def first(body: str, inits: str, shape: str = "N,4") -> Product:
    model = named(f"g (float[{shape}] x, float[N,4] z) => (float y) <{inits}> {{ {body} }}")
    found = product_of(model.graph[0])
    assert found is not None
    return found


def home(body: str, inits: str, shape: str = "N,4") -> BiasHome | None:
    return bias_home(first(body, inits, shape))


@pytest.mark.parametrize(
    ("body", "inits", "bias", "shape"),
    [
        ("y = Gemm(x, w, b)", ROW, [1, 2, 3, 4], (4,)),
        ("y = Gemm(x, w, b)", "float[1,4] b = {1, 2, 3, 4}", [1, 2, 3, 4], (4,)),
        ("y = Gemm(x, w, b)", "float b = {5}", [5, 5, 5, 5], (4,)),
        ("y = Gemm(x, w)", "float b = {5}", [0, 0, 0, 0], (4,)),
        ("m = MatMul(x, w) y = Add(m, b)", ROW, [1, 2, 3, 4], (4,)),
        ("m = MatMul(x, w) y = Add(b, m)", "float[1,4] b = {1, 2, 3, 4}", [1, 2, 3, 4], (1, 4)),
    ],
)
def test_where_a_bias_is_added(
    body: str, inits: str, bias: list[float], shape: tuple[int, ...]
) -> None:
    found = home(body, f"{W}, {inits}")
    assert found is not None
    np.testing.assert_array_equal(found.bias, bias)
    assert found.bias.dtype == np.float64
    assert found.shape == shape
    assert found.in_product == ("Gemm" in body)
    assert found.node.name == "y"
    assert found.input == (2 if "Gemm" in body else int("Add(m" in body))


@pytest.mark.parametrize(
    ("body", "inits"),
    [
        ("y = Gemm(x, w, z)", ROW),
        ("y = Gemm(x, w, b)", "float[2,4] b = {1, 2, 3, 4, 5, 6, 7, 8}"),
        ("y = Gemm<beta = 2.0>(x, w, b)", ROW),
        ("y = MatMul(x, w)", ROW),
        ("m = MatMul(x, w) y = Add(m, z)", ROW),
        ("m = MatMul(x, w) y = Add(m, b)", "float[4,1] b = {1, 2, 3, 4}"),
        ("m = MatMul(x, w) y = Add(m, b)", "float b = {5}"),
        ("m = MatMul(x, w) a = Add(m, b) y = Mul(m, a)", ROW),
        ("m = MatMul(x, w) y = Sub(m, b)", ROW),
    ],
)
def test_no_place_for_a_bias(body: str, inits: str) -> None:
    assert home(body, f"{W}, {inits}") is None


def test_convolutions_have_a_place_but_for_transposed_ones_in_groups() -> None:
    kernel = weights("w", (4, 4, 1, 1))
    plain = home("y = Conv(x, w)", kernel, "N,4,3,3")
    assert plain is not None
    assert (plain.input, plain.shape) == (2, (4,))
    assert home("y = ConvTranspose(x, w)", kernel, "N,4,3,3") is not None
    assert home("y = ConvTranspose<group=2>(x, w)", kernel, "N,4,3,3") is None


@pytest.mark.parametrize(
    ("body", "inits", "matrix"),
    [
        ("y = Gemm(x, w, b)", W, True),
        ("y = Gemm(x, w, z)", W, False),
        ("y = Gemm<alpha = 2.0>(x, w, b)", W, False),
        ("y = Gemm<transA = 1>(x, w)", W, False),
        ("y = MatMul(x, w)", W, True),
        ("y = MatMul(x, w)", weights("w", (2, 4, 4)), False),
        ("y = Conv(x, w)", weights("w", (4, 4, 1)), True),
        ("y = ConvTranspose(x, w)", weights("w", (4, 4, 1)), False),
    ],
)
def test_what_is_a_matrix_times_rows(body: str, inits: str, matrix: bool) -> None:
    found = first(body, f"{inits}, {ROW}")
    assert is_matrix(found) is matrix


def test_a_vector_has_no_output_channels() -> None:
    model = named(
        f"g (float[N,4] x) => (float y) <{W}, {weights('v', (4,))}>"
        "{ m = MatMul(x, w) k = MatMul(m, v) y = Relu(k) }"
    )
    quant = WeightQuant(1, "int8", None, (0.1,))
    weighed = {"m": quant, "k": quant, "y": quant}
    plan = QuantPlan("m", "s", "minmax", {}, weighed, (), (), (), {})
    assert [node.name for node in refinable(model, plan)] == ["m"]


def test_a_product_without_bias_adds_zeros() -> None:
    found = own_bias(first("y = MatMul(x, w)", W))
    assert found is not None
    assert not found.any()
