from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.host import host_facts
from tests.backends.tvm.integers.evaluating import (
    BASELINE,
    Arrays,
    assert_one_step,
    bias,
    encoded,
    images,
    imported,
    in_integers,
    kinds,
    needs_tvm,
    qdq_model,
    reference,
    weights,
)

pytestmark = needs_tvm

_AVX2 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}
needs_avx2 = pytest.mark.skipif(
    "avx2" not in host_facts().flags, reason="this host has no AVX2 instructions"
)


def _conv(
    shape: tuple[int, ...],
    attributes: str = "",
    *,
    channels: int,
    size: int = 9,
    dtype: str = "uint8",
    zeros: tuple[int, int] = (112, 128),
    out_scale: float = 0.35,
) -> ir.Model:
    constants: Arrays = encoded("x", 5 / 255, zeros[0], dtype)
    constants |= encoded("y", out_scale, zeros[1], dtype)
    constants |= weights("w", shape)
    constants |= bias("b", constants["w_s"] * constants["x_s"])
    return qdq_model(
        f"""g (float[N, {channels}, {size}, {size}] x) => ({dtype}[N, C, H, W] y) {{
            xq = QuantizeLinear(x, x_s, x_z)
            xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 0>(w, w_s, w_z)
            bd = DequantizeLinear<axis = 0>(b, b_s)
            c = Conv{attributes and f"<{attributes}>"}(xd, wd, bd)
            y = QuantizeLinear(c, y_s, y_z)
        }}""",
        constants,
    )


_CASES = {
    "dense": ((32, 16, 3, 3), "pads = [1, 1, 1, 1]", 16),
    "first": ((16, 3, 3, 3), "pads = [1, 1, 1, 1], strides = [2, 2]", 3),
    "single": ((24, 1, 5, 2), "pads = [2, 0, 1, 1]", 1),
    "pointwise": ((40, 24, 1, 1), "", 24),
    "strided": ((16, 20, 1, 1), "strides = [2, 2]", 20),
    "dilated": ((16, 8, 3, 3), "dilations = [2, 2], pads = [2, 2, 2, 2]", 8),
    "depthwise": ((24, 1, 3, 3), "group = 24, pads = [1, 1, 1, 1]", 24),
    "depthwise-strided": ((16, 1, 5, 5), "group = 16, pads = [2, 2, 1, 1], strides = [2, 2]", 16),
    "depthwise-wide": ((16, 1, 1, 9), "group = 16", 16),
    "depthwise-narrow": ((3, 1, 3, 3), "group = 3", 3),
    "grouped": ((32, 8, 3, 3), "group = 4, pads = [1, 1, 1, 1]", 32),
    "grouped-odd": ((30, 5, 3, 3), "group = 3", 15),
    "multiplied": ((48, 1, 3, 3), "group = 24", 24),
    "many": ((64, 64, 3, 3), "pads = [0, 1, 1, 0]", 64),
}


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_convolutions_are_at_most_one_step_off(case: tuple[tuple[int, ...], str, int]) -> None:
    shape, attributes, channels = case
    model = _conv(shape, attributes, channels=channels)
    assert_one_step(model, {"x": images((2, channels, 9, 9))})


@pytest.mark.parametrize("name", ["dense", "first", "depthwise", "grouped"])
def test_signed_activations_are_at_most_one_step_off(name: str) -> None:
    shape, attributes, channels = _CASES[name]
    model = _conv(shape, attributes, channels=channels, dtype="int8", zeros=(-16, 3))
    assert_one_step(model, {"x": images((2, channels, 9, 9))})


@pytest.mark.parametrize("name", ["dense", "first", "depthwise", "grouped-odd"])
def test_without_a_dot_product_the_answers_are_the_same(name: str) -> None:
    shape, attributes, channels = _CASES[name]
    model = _conv(shape, attributes, channels=channels)
    feeds = {"x": images((3, channels, 9, 9))}
    here, there = in_integers(model, feeds), in_integers(model, feeds, BASELINE)
    np.testing.assert_array_equal(here[0], there[0])


@pytest.mark.parametrize(
    ("dtype", "zeros"),
    [("uint8", (0, 0)), ("uint8", (255, 255)), ("int8", (-128, -128)), ("int8", (127, 127))],
)
def test_results_saturate_at_both_ends_of_the_type(dtype: str, zeros: tuple[int, int]) -> None:
    model = _conv((16, 16, 3, 3), channels=16, dtype=dtype, zeros=zeros, out_scale=0.02)
    feeds = {"x": images((1, 16, 9, 9), -6, 6)}
    ends = np.iinfo(dtype)
    reached = reference(model, feeds)[0]
    assert reached.min() == ends.min
    assert reached.max() == ends.max
    assert_one_step(model, feeds)


def test_extreme_inputs_and_weights_do_not_overflow() -> None:
    model = _conv((16, 64, 3, 3), channels=64, zeros=(0, 0), out_scale=40.0)
    stored = model.graph.initializers["w"]
    stored.const_value = ir.tensor(np.full((16, 64, 3, 3), -127, np.int8), name="w")
    model.graph.initializers["y_z"].const_value = ir.tensor(np.array(255, np.uint8), name="y_z")
    assert_one_step(
        model, {"x": np.concatenate([images((1, 64, 9, 9)), np.full((1, 64, 9, 9), 9, "f")])}
    )


@pytest.mark.parametrize(
    "clip", ["r = Relu(c)", "r = Clip(c, low, high)", "r0 = Relu(c) r = Clip(r0, low, high)"]
)
def test_relu_and_clip_between_become_limits(clip: str) -> None:
    constants = encoded("x", 0.02, 120) | encoded("y", 0.35, 100) | weights("w", (16, 4, 3, 3))
    constants |= {"low": np.array(-4, "f"), "high": np.array(6, "f")}
    model = qdq_model(
        f"""g (float[1, 4, 8, 8] x) => (uint8[1, 16, 6, 6] y) {{
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 0>(w, w_s, w_z)
            c = Conv(xd, wd) {clip} y = QuantizeLinear(r, y_s, y_z)
        }}""",
        constants,
    )
    assert_one_step(model, {"x": images((1, 4, 8, 8))})
    assert kinds(imported(model)) == ["pack", "convolution", "unpack"]


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_gemm_to_8_bits_and_to_float(is_transposed: bool, dtype: str) -> None:
    axis = 0 if is_transposed else 1
    constants = encoded("x", 0.02, 100, dtype) | encoded("y", 0.4, 7, dtype)
    constants |= weights("w", (21, 50) if is_transposed else (50, 21), axis)
    constants |= {"b": np.linspace(-3, 3, 21, dtype=np.float32)}
    model = qdq_model(
        f"""g (float[N, 50] x) => ({dtype}[N, 21] y, float[N, 21] z) {{
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = {axis}>(w, w_s, w_z)
            m = Gemm<transB = {int(is_transposed)}>(xd, wd, b)
            y = QuantizeLinear(m, y_s, y_z)
            z = Gemm<transB = {int(is_transposed)}>(xd, wd, b)
        }}""",
        constants,
    )
    feeds = {"x": images((5, 50))}
    (y, z), (want, real) = in_integers(model, feeds), reference(model, feeds)
    assert np.abs(y.astype(int) - want.astype(int)).max() <= 1
    np.testing.assert_allclose(z, real, atol=2e-4 * np.ptp(real))
    assert "dequantize" not in " ".join(kinds(imported(model)))


def test_matmul_over_rows_takes_the_bias_behind_it() -> None:
    constants = encoded("x", 0.02, 100) | encoded("y", 0.4, 128) | weights("w", (24, 20), 1)
    constants |= {"b": np.linspace(-3, 3, 20, dtype=np.float32)}
    model = qdq_model(
        """g (float[N, 7, 24] x) => (uint8[N, 7, 20] y) {
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 1>(w, w_s, w_z)
            m = MatMul(xd, wd) a = Add(b, m) r = Relu(a) y = QuantizeLinear(r, y_s, y_z)
        }""",
        constants,
    )
    assert_one_step(model, {"x": images((2, 7, 24))}, few=0.01)
    assert kinds(imported(model)) == ["pack", "convolution", "unpack"]


def test_a_bias_beyond_32_bits_is_added_in_float() -> None:
    model = _conv((16, 16, 3, 3), channels=16)
    graph = model.graph
    large = np.linspace(1e9, 2**31 - 1, 16).astype(np.int32)
    graph.initializers["b"].const_value = ir.tensor(large, name="b")
    scale = graph.initializers["b_s"].const_value.numpy().max()  # type: ignore[union-attr]
    out = np.float32(scale * 2**31 / 100)
    graph.initializers["y_s"].const_value = ir.tensor(out, name="y_s")
    feeds = {"x": images((1, 16, 9, 9))}
    assert_one_step(model, feeds)
    assert "convolution" in kinds(imported(model))


def test_a_bias_that_is_no_step_of_the_sums_is_kept_as_it_is() -> None:
    """Sums of large steps: half of one is many of the result's."""
    constants = encoded("x", 1.0, 3) | encoded("y", 0.05, 100) | weights("w", (8, 24), 1)
    constants["w"] //= 64
    constants |= {"b": np.linspace(-4, 4, 24, dtype=np.float32)}
    model = qdq_model(
        """g (float[N, 8] x) => (uint8[N, 24] y) {
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 1>(w, w_s, w_z)
            m = MatMul(xd, wd) a = Add(m, b) y = QuantizeLinear(a, y_s, y_z)
        }""",
        constants | {"w_s": np.full(24, 0.3, np.float32)},
    )
    feeds = {"x": images((64, 8), 0, 20)}
    (found,), (wanted,) = in_integers(model, feeds), reference(model, feeds)
    np.testing.assert_array_equal(found, wanted)


def test_sums_beyond_32_bits_stay_in_float() -> None:
    constants = encoded("x", 0.02, 100) | encoded("y", 0.4, 128) | weights("w", (70_000, 4), 1)
    constants["w"][:] = 127
    model = qdq_model(
        """g (float[N, 70000] x) => (uint8[N, 4] y) {
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 1>(w, w_s, w_z)
            m = MatMul(xd, wd) y = QuantizeLinear(m, y_s, y_z)
        }""",
        constants,
    )
    called = kinds(imported(model))
    assert "convolution" not in called
    assert "relax.matmul" in called


def test_weights_with_a_zero_point() -> None:
    model = _conv((16, 16, 3, 3), channels=16)
    narrow = np.random.default_rng(0).integers(70, 180, (16, 16, 3, 3)).astype(np.uint8)
    graph = model.graph
    for name, array in {"w": narrow, "w_z": np.full(16, 128, np.uint8)}.items():
        graph.initializers[name].const_value = ir.tensor(array, name=name)
        graph.initializers[name].type = ir.TensorType(ir.DataType.UINT8)
    assert_one_step(model, {"x": images((1, 16, 9, 9))})
    assert "convolution" in kinds(imported(model))


@needs_avx2
@pytest.mark.parametrize(
    "name",
    ["dense", "first", "pointwise", "grouped-odd", "many", "depthwise", "depthwise-strided"],
)
@pytest.mark.parametrize("bits", [7, 8])
def test_products_of_16_bits_give_the_same_answers(name: str, bits: int) -> None:
    shape, attributes, channels = _CASES[name]
    model = _conv(shape, attributes, channels=channels, zeros=(0, 128))
    if bits == 7:
        stored = model.graph.initializers["w"]
        extremes = np.random.default_rng(3).choice([-64, -63, 63, 64], shape).astype(np.int8)
        stored.const_value = ir.tensor(extremes, name="w")
    feeds = {"x": images((3, channels, 9, 9), 2, 6)}
    here, there = in_integers(model, feeds), in_integers(model, feeds, _AVX2)
    np.testing.assert_array_equal(here[0], there[0])


@pytest.mark.parametrize(
    ("pair", "are"),
    [((64, 64), True), ((-64, -64), True), ((127, -128), True), ((65, 64), False),
     ((-64, -65), False), ((0, 127), True)],
)  # fmt: skip
def test_whether_two_products_fit_16_bits(pair: tuple[int, int], are: bool) -> None:
    from bmopt.backends.tvm.integers.convolution import are_narrow

    assert are_narrow(np.array([1, 2, *pair], np.int8)) == are
    lowest, highest = 255 * min(min(pair), 0), 255 * max(max(pair), 0)
    sums = [lowest, highest, 255 * sum(pair)]
    assert (min(sums) >= -(2**15) and max(sums) < 2**15) == are


@pytest.mark.parametrize(("bits", "instruction"), [(7, "vpmaddubsw"), (8, "vpmaddwd")])
def test_the_instruction_without_a_dot_product_goes_by_the_weights(
    bits: int, instruction: str
) -> None:
    import tvm

    model = _conv((32, 32, 3, 3), channels=32)
    if bits == 7:
        narrow = np.full((32, 32, 3, 3), 64, np.int8)
        model.graph.initializers["w"].const_value = ir.tensor(narrow, name="w")
    built = tvm.compile(imported(model, _AVX2), tvm.target.Target(_AVX2))
    (library,) = (m for m in built.mod.imports if m.kind == "llvm")
    text = library.inspect_source("asm")
    assert text.count(instruction) >= 6
    assert ("vpmaddubsw" in text) == (bits == 7)
