from __future__ import annotations

import numpy as np
import pytest

from bmopt.core.imported import Imported
from bmopt.optimizer.imported.importing import import_quantized
from tests.optimizer.imported.quantised_models import (
    assert_same_arithmetic,
    float32,
    integers_of,
    stored_weights,
)
from tests.quantizing import named


def product(
    node: str, shape: str, dtype: str, numbers: list[int], scales: list[float], **extra: str
) -> Imported:
    """Import a product whose weight is stored as ``numbers`` behind a DequantizeLinear."""
    axis, zero, x, y = (
        extra.get(k, d) for k, d in zip("azxy", ("0", "", "1,4", "1,4"), strict=True)
    )
    per_channel = len(scales) > 1
    size = f"[{len(scales)}]" if per_channel else ""
    zeros = ", ".join([zero or "0"] * len(scales))
    source = named(
        f"""
        g (float[{x}] x) => (float[{y}] y)
          <{dtype}[{shape}] w = {{{", ".join(map(str, numbers))}}},
           float{size} s = {{{", ".join(map(str, scales))}}}, {dtype}{size} z = {{{zeros}}},
           float xs = {{0.03}}, int8 xz = {{0}}>
        {{
          q = QuantizeLinear(x, xs, xz)
          d = DequantizeLinear(q, xs, xz)
          f = DequantizeLinear{f"<axis={axis}>" if per_channel else ""}(w, s, z)
          y = {node}
        }}
        """
    )
    imported = import_quantized(source)
    assert_same_arithmetic(source, imported)
    return imported


SCALES = [0.011, 0.012, 0.013, 0.014]
NUMBERS = [*range(-127, 113, 15)]


@pytest.mark.parametrize(
    ("node", "shape", "axis", "x"),
    [
        ("MatMul(d, f)", "4,4", "1", "2,4"),
        ("Gemm(d, f)", "4,4", "1", "2,4"),
        ("Gemm<transB=1>(d, f)", "4,4", "0", "2,4"),
        ("Conv<kernel_shape=[1,1]>(d, f)", "4,4,1,1", "0", "1,4,5,5"),
        ("Conv<kernel_shape=[2,2], group=4>(d, f)", "4,1,2,2", "0", "1,4,5,5"),
        ("ConvTranspose<kernel_shape=[1,1]>(d, f)", "4,4,1,1", "1", "1,4,5,5"),
    ],
)
def test_scales_along_the_output_channels_are_kept(
    node: str, shape: str, axis: str, x: str
) -> None:
    y = x.replace("5,5", "4,4") if "group" in node else x
    imported = product(node, shape, "int8", NUMBERS, SCALES, a=axis, x=x, y=y)
    assert imported.weight_scales["y"] == float32(*SCALES)
    np.testing.assert_array_equal(integers_of(imported, "y").reshape(-1), NUMBERS)
    assert imported.notes == {}


@pytest.mark.parametrize(
    ("node", "shape", "axis", "x"),
    [
        ("MatMul(d, f)", "4,4", "0", "2,4"),
        ("Gemm<transB=1>(d, f)", "4,4", "1", "2,4"),
        ("Conv<kernel_shape=[1,1]>(d, f)", "4,4,1,1", "1", "1,4,5,5"),
        ("ConvTranspose<kernel_shape=[1,1]>(d, f)", "4,4,1,1", "0", "1,4,5,5"),
    ],
)
def test_scales_along_another_axis_are_not(node: str, shape: str, axis: str, x: str) -> None:
    imported = product(node, shape, "int8", NUMBERS, SCALES, a=axis, x=x, y=x)
    assert imported.weight_scales == {}
    assert imported.notes == {
        "y": "weight re-encoded: its scales do not lie along the output channels"
    }
    assert imported.keep_float == (), "it was quantised, if otherwise"


@pytest.mark.parametrize(
    ("dtype", "zero", "kept"),
    [("int8", 0, True), ("int8", 3, False), ("uint8", 128, True), ("uint8", 0, False)],
)
def test_symmetric_encodings_are_kept(dtype: str, zero: int, *, kept: bool) -> None:
    numbers = [number + (128 if dtype == "uint8" else 0) for number in NUMBERS]
    imported = product(
        "MatMul(d, f)", "4,4", dtype, numbers, [0.01], z=str(zero), x="2,4", y="2,4"
    )
    assert ("y" in imported.weight_scales) is kept
    if kept:
        assert imported.weight_scales["y"] == float32(0.01)
        np.testing.assert_array_equal(integers_of(imported, "y").reshape(-1), NUMBERS)
    else:
        assert imported.notes == {"y": f"weight re-encoded: its {dtype} zero point is {zero}"}


def test_wider_integers_are_encoded_again() -> None:
    wide = [100 * number for number in NUMBERS]
    imported = product("MatMul(d, f)", "4,4", "int32", wide, [0.0001], x="2,4", y="2,4")
    assert imported.weight_scales == {}
    assert imported.notes == {"y": "weight re-encoded: it is stored as int32"}


@pytest.mark.parametrize(("dtype", "zero"), [("int8", 0), ("uint8", 128)])
def test_the_lowest_integer_is_kept(dtype: str, zero: int) -> None:
    numbers = [-128, *NUMBERS[1:-1], 127]
    imported = product(
        "MatMul(d, f)",
        "4,4",
        dtype,
        [number + zero for number in numbers],
        SCALES,
        a="1",
        z=str(zero),
        x="2,4",
        y="2,4",
    )
    assert imported.notes == {}
    weight = stored_weights(imported)["y"]
    assert weight.dtype == np.int8
    np.testing.assert_array_equal(weight.reshape(-1), numbers)
