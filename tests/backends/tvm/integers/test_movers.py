from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.backends.tvm.integers.evaluating import (
    Arrays,
    assert_one_step,
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


def _moved(mover: str, constants: Arrays, dtype: str = "uint8") -> ir.Model:
    """Return a graph that moves a convolution's 8-bit result, and rounds nothing behind it."""
    zero = 99 if dtype == "uint8" else -11
    arrays = encoded("x", 0.0207, zero, dtype) | encoded("y", 0.31, zero, dtype)
    arrays |= weights("w", (20, 3, 3, 3)) | constants
    return qdq_model(
        f"""g (float[N, 3, 10, 8] x) => ({dtype}[A, B, C, D] y) {{
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            wd = DequantizeLinear<axis = 0>(w, w_s, w_z)
            c = Conv(xd, wd) q = QuantizeLinear(c, y_s, y_z)
            y = {mover}
        }}""",
        arrays,
    )


_SLICES: dict[str, tuple[list[int], ...]] = {
    "strided": ([0, 0], [9, 9], [2, 3], [2, 2]),
    "from-the-end": ([-4], [-1], [3], [1]),
    "channels": ([3, 1], [19, 6], [1, 2], [1, 1]),
}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("case", _SLICES.values(), ids=_SLICES)
def test_slices(case: tuple[list[int], ...], dtype: str) -> None:
    names = ("starts", "ends", "axes", "steps")
    constants: Arrays = {n: np.array(v) for n, v in zip(names, case, strict=True)}
    model = _moved("Slice(q, starts, ends, axes, steps)", constants, dtype)
    assert_one_step(model, {"x": images((2, 3, 10, 8))})
    assert kinds(imported(model)) == ["pack", "convolution", "placing", "unpack"]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_padding_with_the_zero_point(dtype: str) -> None:
    pads = {"pads": np.array([0, 8, 1, 0, 0, 8, 2, 1])}
    model = _moved("Pad(q, pads, y_z)", pads, dtype)
    assert_one_step(model, {"x": images((2, 3, 10, 8))})
    assert kinds(imported(model)) == ["pack", "convolution", "placing", "unpack"]


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape = [2, 2], strides = [2, 2]",
        "kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]",
        "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1",
    ],
)
def test_greatest_of_a_window(attributes: str, dtype: str) -> None:
    model = _moved(f"MaxPool<{attributes}>(q)", {}, dtype)
    assert_one_step(model, {"x": images((2, 3, 10, 8))})
    assert kinds(imported(model)) == ["pack", "convolution", "maxpool", "unpack"]


@pytest.mark.parametrize(
    ("mover", "constants"),
    [
        ("Transpose<perm = [0, 2, 3, 1]>(q)", {}),
        ("Reshape(q, shape)", {"shape": np.array([0, 10, 12, 8])}),
        ("Pad(q, pads, fill)", {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
                                "fill": np.array(3, np.uint8)}),
    ],
)  # fmt: skip
def test_other_moves_are_made_on_plain_integers(mover: str, constants: Arrays) -> None:
    model = _moved(mover, constants)
    assert_one_step(model, {"x": images((2, 3, 10, 8))})
    assert kinds(imported(model))[:3] == ["pack", "convolution", "unpack"]


def test_flattening_a_single_pixel_costs_nothing() -> None:
    constants = encoded("x", 0.0207, 99) | encoded("p", 0.0063, 120)
    constants |= weights("w", (24, 10), 1)
    model = qdq_model(
        """g (float[N, 24, 6, 6] x) => (float[N, 10] y) {
            xq = QuantizeLinear(x, x_s, x_z) xd = DequantizeLinear(xq, x_s, x_z)
            p = GlobalAveragePool(xd) pq = QuantizeLinear(p, p_s, p_z)
            f = Flatten(pq) fd = DequantizeLinear(f, p_s, p_z)
            wd = DequantizeLinear<axis = 1>(w, w_s, w_z) y = Gemm(fd, wd)
        }""",
        constants,
    )
    assert kinds(imported(model)) == ["pack", "meanpool", "convolution", "unpack"]
    feeds = {"x": images((3, 24, 6, 6))}
    (found,), (wanted,) = in_integers(model, feeds), reference(model, feeds)
    np.testing.assert_allclose(found, wanted, atol=0.004 * np.ptp(wanted))


def test_flattening_an_image_puts_channels_first_again() -> None:
    constants = encoded("x", 0.0207, 99) | weights("w", (96, 10), 1)
    model = qdq_model(
        """g (float[N, 6, 4, 4] x) => (float[N, 10] y) {
            xq = QuantizeLinear(x, x_s, x_z) f = Flatten(xq) fd = DequantizeLinear(f, x_s, x_z)
            wd = DequantizeLinear<axis = 1>(w, w_s, w_z) y = Gemm(fd, wd)
        }""",
        constants,
    )
    feeds = {"x": images((3, 6, 4, 4))}
    (found,), (wanted,) = in_integers(model, feeds), reference(model, feeds)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.ptp(wanted))
    assert "convolution" in kinds(imported(model))
