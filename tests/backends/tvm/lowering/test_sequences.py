"""Products and softmax of sequences, and functions of one number, against ONNX Runtime."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.backends.tvm.installed import model_of, needs_tvm
from tests.backends.tvm.lowering.lowered import agrees, lowered

pytestmark = needs_tvm


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1, 7, 20", "20, 33"),
        ("2, 3, 7, 20", "20, 64"),
        ("N, 7, 20", "20, 1"),
        ("N, 3, 13, 8", "8, 130"),
    ],
)
def test_sequences_times_weights(left: str, right: str) -> None:
    model = model_of(f"""
        g (float[{left}] x) => (float[{", ".join("abcd"[: left.count(",") + 1])}] y)
        <float[{right}] w> {{ y = MatMul(x, w) }}
    """)
    assert agrees(model, batch=3)["product"] == 1


@pytest.mark.parametrize("batch", ["1", "N"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 17), (14, 64), (31, 99)])
def test_products_of_activations(batch: str, threads: int, rows: int, columns: int) -> None:
    model = model_of(f"""
        g (float[{batch}, 2, {rows}, 12] x, float[{batch}, 2, 12, {columns}] z)
        => (float[a, b, c, d] y) {{ y = MatMul(x, z) }}
    """)
    assert agrees(model, batch=2, threads=threads)["product"] == 1


@pytest.mark.parametrize("mcpu", ["x86-64", "haswell"])
def test_products_in_narrower_vectors(mcpu: str) -> None:
    model = model_of("""
        g (float[2, 9, 12] x, float[2, 12, 41] z) => (float[a, b, c] y) { y = MatMul(x, z) }
    """)
    assert agrees(model, mcpu=mcpu)["product"] == 1


def test_a_matrix_for_all_batches_of_a_constant() -> None:
    model = model_of("""
        g (float[N, 2, 5, 6] x) => (float[a, b, c, d] y) <float[4, 5] w> { y = MatMul(w, x) }
    """)
    agrees(model, batch=2)


@pytest.mark.parametrize("columns", [1, 3, 16, 37])
@pytest.mark.parametrize("batch", ["2", "N"])
def test_softmax(columns: int, batch: str) -> None:
    model = model_of(f"""
        g (float[{batch}, 3, 5, {columns}] x) => (float[a, b, c, d] y) {{
            y = Softmax<axis = -1>(x)
        }}
    """)
    assert agrees(model, batch=2)["softmax"] == 1


def test_softmax_of_what_is_masked() -> None:
    model = model_of("g (float[1, 2, 20] x) => (float[a, b, c] y) { y = Softmax(x) }")
    values = np.random.default_rng(0).standard_normal((1, 2, 20)).astype(np.float32)
    values[0, 0, 3:18] = -np.inf
    (got,) = lowered(model, {"x": values}).outputs
    apart = np.exp(values.astype(np.float64) - values.max(-1, keepdims=True))
    np.testing.assert_allclose(got, apart / apart.sum(-1, keepdims=True), rtol=1e-5)
    assert not got[0, 0, 3:18].any()


_FUNCTIONS = {
    "Exp": np.exp,
    "Erf": np.vectorize(math.erf),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}


@pytest.mark.parametrize("op", _FUNCTIONS)
def test_functions_to_the_last_places(op: str) -> None:
    model = model_of(f"g (float[N] x) => (float[a] y) {{ y = {op}(x) }}")
    values = np.concatenate(
        [np.linspace(-80, 80, 20001), np.linspace(-3, 3, 20001), np.linspace(-1e-3, 1e-3, 101)]
    ).astype(np.float32)
    (got,) = lowered(model, {"x": values}).outputs
    want = _FUNCTIONS[op](values.astype(np.float64))
    np.testing.assert_allclose(got, want, rtol=6e-7, atol=1e-37)


def test_exponentials_out_of_range() -> None:
    model = model_of("g (float[N] x) => (float[a] y) { y = Exp(x) }")
    values = np.array([-np.inf, -100, 0, 100, np.inf], np.float32)
    (got,) = lowered(model, {"x": values}).outputs
    np.testing.assert_array_equal(got, [0, 0, 1, np.inf, np.inf])


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh", "Exp", "Erf"])
def test_functions_behind_a_convolution(op: str) -> None:
    model = model_of(f"""
        g (float[N, 3, 9, 9] x) => (float[a, b, c, d] y) <float[20, 3, 3, 3] w> {{
            a = Conv(x, w)
            y = {op}(a)
        }}
    """)
    kernels = agrees(model, batch=2)
    assert (kernels["conv"], kernels.get("other", 0)) == (1, 0)
