from __future__ import annotations

import pytest

from tests.backends.tvm.integers.evaluating import (
    Arrays,
    assert_one_step,
    encoded,
    images,
    imported,
    kinds,
    needs_tvm,
    qdq_model,
)

pytestmark = needs_tvm

_QUANTISED = """
    aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
    bq = QuantizeLinear(b, b_s, b_z) bd = DequantizeLinear(bq, b_s, b_z)
"""


def _encodings(dtype: str, out: float = 0.031153) -> Arrays:
    shift = 0 if dtype == "uint8" else -128
    found = encoded("a", 0.020317, 110 + shift, dtype) | encoded("b", 0.013279, 128 + shift, dtype)
    return found | encoded("y", out, 90 + shift, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("other", ["20, 6, 7", "20, 1, 1"])
def test_add_and_mul(dtype: str, op: str, other: str) -> None:
    model = qdq_model(
        f"""g (float[N, 20, 6, 7] a, float[N, {other}] b) => ({dtype}[N, 20, 6, 7] y) {{
            {_QUANTISED} s = {op}(bd, ad) y = QuantizeLinear(s, y_s, y_z)
        }}""",
        _encodings(dtype),
    )
    sizes = tuple(int(size) for size in other.split(", "))
    feeds = {"a": images((2, 20, 6, 7)), "b": images((2, *sizes), -1.6, 1.6, seed=8)}
    assert_one_step(model, feeds, few=0.01)
    assert "binary" in kinds(imported(model))


def test_addition_saturates_and_takes_relu() -> None:
    model = qdq_model(
        f"""g (float[N, 6] a, float[N, 6] b) => (uint8[N, 6] y) {{
            {_QUANTISED} s = Add(ad, bd) r = Relu(s) y = QuantizeLinear(r, y_s, y_z)
        }}""",
        _encodings("uint8") | encoded("y", 0.010171, 0),
    )
    assert_one_step(model, {"a": images((40, 6)), "b": images((40, 6), seed=9)}, few=0.01)


@pytest.mark.parametrize(
    "pool",
    [
        "GlobalAveragePool(ad)",
        "AveragePool<kernel_shape = [3, 2], strides = [2, 1]>(ad)",
        "AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(ad)",
        "AveragePool<kernel_shape = [3, 3], pads = [1, 0, 1, 2], count_include_pad = 1>(ad)",
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_means(pool: str, dtype: str) -> None:
    model = qdq_model(
        f"""g (float[N, 20, 9, 8] a) => ({dtype}[N, C, H, W] y) {{
            aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
            p = {pool} y = QuantizeLinear(p, y_s, y_z)
        }}""",
        _encodings(dtype, 0.004191) if "Global" in pool else _encodings(dtype),
    )
    assert_one_step(model, {"a": images((2, 20, 9, 8))}, few=0.01)
    assert "meanpool" in kinds(imported(model))


@pytest.mark.parametrize("depths", [(16, 16), (3, 21), (1, 4)])
def test_concat_brings_its_inputs_to_one_encoding(depths: tuple[int, int]) -> None:
    model = qdq_model(
        f"""g (float[N, {depths[0]}, 4, 5] a, float[N, {depths[1]}, 4, 5] b)
            => (uint8[N, {sum(depths)}, 4, 5] y) {{
            {_QUANTISED} c = Concat<axis = 1>(ad, bd) y = QuantizeLinear(c, y_s, y_z)
        }}""",
        _encodings("uint8"),
    )
    feeds = {n: images((2, d, 4, 5), seed=d) for n, d in zip("ab", depths, strict=True)}
    assert_one_step(model, feeds)
    assert "placing" in kinds(imported(model))


@pytest.mark.parametrize(
    "function",
    ["LeakyRelu<alpha = 0.1>(ad)", "Sigmoid(ad)", "Tanh(ad)", "HardSwish(ad)", "Relu(ad)"],
)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_functions_of_one_tensor_are_tables(function: str, dtype: str) -> None:
    model = qdq_model(
        f"""g (float[N, 5, 4, 4] a) => ({dtype}[N, 5, 4, 4] y) {{
            aq = QuantizeLinear(a, a_s, a_z) ad = DequantizeLinear(aq, a_s, a_z)
            f = {function} y = QuantizeLinear(f, y_s, y_z)
        }}""",
        _encodings(dtype),
    )
    assert_one_step(model, {"a": images((3, 5, 4, 4))}, few=0.01)
    assert "table" in kinds(imported(model))


def test_inputs_with_other_channels_stay_in_float() -> None:
    model = qdq_model(
        f"""g (float[N, 20, 6, 7] a, float[N, 1, 6, 7] b) => (uint8[N, 20, 6, 7] y) {{
            {_QUANTISED} s = Add(ad, bd) y = QuantizeLinear(s, y_s, y_z)
        }}""",
        _encodings("uint8"),
    )
    feeds = {"a": images((2, 20, 6, 7)), "b": images((2, 1, 6, 7), seed=8)}
    assert_one_step(model, feeds)
    assert "binary" not in kinds(imported(model))
