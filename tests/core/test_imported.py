from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.calibration.encoding import encode_activation
from bmopt.core.imported import Imported, ImportedRange, to_range_table
from bmopt.core.ranges import METHODS, RangeTable
from bmopt.core.scheme import Encoding

TENSORRT = Encoding("int8", symmetric=True, low=-128, high=127)
SCALES = st.floats(2.0**-20, 2.0**20, width=32)


def encoded(dtype: str, scale: float, zero_point: int) -> ImportedRange:
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}[dtype]
    return ImportedRange(
        dtype, scale, zero_point, scale * (low - zero_point), scale * (high - zero_point)
    )


def table_of(entry: ImportedRange) -> RangeTable:
    model = ir.from_onnx_text('<ir_version: 8, opset_import: ["": 17]> g () => () {}')
    return to_range_table(Imported(model, {"x": entry}, {}, (), {}), "m" * 64)


@given(SCALES, st.sampled_from([("int8", 0), ("uint8", 128)]))
def test_symmetric_scales_come_back_exactly(scale: float, kind: tuple[str, int]) -> None:
    table = table_of(encoded(kind[0], scale, kind[1]))
    for method in METHODS:
        interval = table.tensors["x"].interval(method, symmetric=True)
        assert encode_activation(interval, TENSORRT).scale == scale


@given(SCALES, st.integers(0, 255))
def test_asymmetric_encodings_come_back_exactly(scale: float, zero_point: int) -> None:
    interval = table_of(encoded("uint8", scale, zero_point)).tensors["x"].affine["entropy"]
    quant = encode_activation(interval, Encoding("uint8", symmetric=False, low=0, high=255))
    assert quant.zero_point == zero_point
    assert np.isclose(quant.scale, scale, rtol=2e-7)


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("uint8", 114), ("int8", -128)])
def test_other_encodings_are_covered(dtype: str, zero: int) -> None:
    entry = encoded(dtype, 0.5, zero)
    assert not entry.is_symmetric
    assert entry.bound == max(-entry.low, entry.high)
    assert table_of(entry).tensors["x"].symmetric["minmax"].high == entry.bound


def test_the_table_is_bound_to_its_model_and_survives_json() -> None:
    table = table_of(encoded("int8", 0.25, 0))
    table.require_model("m" * 64)
    assert RangeTable.from_json(table.to_json()) == table
