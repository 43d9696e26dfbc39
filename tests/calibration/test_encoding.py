from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bmopt.calibration.encoding import (
    clips_alike,
    encode_activation,
    encode_weight,
    with_scales,
)
from bmopt.core.plan import ActivationQuant, WeightQuant
from bmopt.core.ranges import Interval
from bmopt.core.scheme import Encoding
from bmopt.graph.products import Product, product_of
from tests.quantizing import named

UNSIGNED = Encoding("uint8", symmetric=False, low=0, high=255)
SIGNED = Encoding("int8", symmetric=False, low=-128, high=127)
UNSIGNED_MIDDLE = Encoding("uint8", symmetric=True, low=0, high=255)
SIGNED_MIDDLE = Encoding("int8", symmetric=True, low=-127, high=127)
ENCODINGS = [UNSIGNED, SIGNED, UNSIGNED_MIDDLE, SIGNED_MIDDLE]

PER_CHANNEL = Encoding("int8", symmetric=True, low=-127, high=127, per_channel=True)
PER_TENSOR = Encoding("int8", symmetric=True, low=-127, high=127)
SEVEN_BIT = Encoding("int8", symmetric=True, low=-64, high=63, per_channel=True)

bounds = st.floats(-(2.0**100), 2.0**100, width=32)
intervals = st.tuples(bounds, bounds).map(lambda pair: Interval(min(pair), max(pair)))


def product(weight: list[float], shape: str, node: str, bias: str = "") -> Product:
    body = ", ".join(f"{w:.9g}" for w in weight)
    model = named(
        f"g (float[N,2] x) => (float y) <float[{shape}] w = {{{body}}}{bias}> {{ {node} }}"
    )
    found = product_of(model.graph[0])
    assert found is not None
    return found


def gemm(columns: list[list[float]], bias: list[float] | None = None) -> Product:
    """A Gemm whose weight has these two-element columns."""
    flat = [c[row] for row in range(2) for c in columns]
    size = len(columns)
    if bias is None:
        return product(flat, f"2,{size}", "y = Gemm(x, w)")
    body = ", ".join(f"{b:.9g}" for b in bias)
    text = f", float[{size}] b = {{{body}}}"
    return product(flat, f"2,{size}", "y = Gemm(x, w, b)", text)


def real(quant: ActivationQuant, value: int) -> float:
    return quant.scale * (value - quant.zero_point)


@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
@given(interval=intervals)
@example(interval=Interval(0.0, 0.0))
@example(interval=Interval(0.0, 1e-45))
@example(interval=Interval(-3.4e38, 3.4e38))
@example(interval=Interval(2.0, 3.0))
@example(interval=Interval(-3.0, -2.0))
def test_an_activations_encoding_holds_zero_and_the_interval(
    encoding: Encoding, interval: Interval
) -> None:
    quant = encode_activation(interval, encoding)
    assert quant.dtype == encoding.dtype
    assert encoding.low <= quant.zero_point <= encoding.high
    assert quant.scale > 0
    assert np.float32(quant.scale) == quant.scale, "the scale is stored as float32"
    # The zero point is rounded, so an end may lie half a step outside; float32 adds its own.
    slack = quant.scale * (0.5 + 255 * 2**-23)
    assert real(quant, encoding.low) <= min(interval.low, 0.0) + slack
    assert real(quant, encoding.high) >= max(interval.high, 0.0) - slack


@pytest.mark.parametrize("encoding", [UNSIGNED_MIDDLE, SIGNED_MIDDLE], ids=str)
@given(interval=intervals)
def test_a_symmetric_zero_point_is_the_middle(encoding: Encoding, interval: Interval) -> None:
    middle = 128 if encoding.dtype == "uint8" else 0
    assert encode_activation(interval, encoding).zero_point == middle


def test_a_range_from_zero_starts_at_the_lowest_integer() -> None:
    assert encode_activation(Interval(0.0, 6.0), UNSIGNED).zero_point == 0
    assert encode_activation(Interval(0.0, 6.0), SIGNED).zero_point == -128
    assert encode_activation(Interval(-6.0, 0.0), UNSIGNED).zero_point == 255


@pytest.mark.parametrize(
    ("interval", "low", "high", "alike"),
    [
        (Interval(0.0, 3.0), 0.0, math.inf, True),
        (Interval(0.0, 6.0), 0.0, 6.0, True),
        (Interval(0.0, 3.0), 0.0, 6.0, True),
        (Interval(-1.0, 1.0), -1.0, 1.0, True),
        (Interval(-0.1, 3.0), 0.0, math.inf, False),
        (Interval(0.0, 7.0), 0.0, 6.0, False),
        (Interval(1.0, 3.0), 1.0, 3.0, False),  # the encoding holds zero, the clip does not
    ],
)
@pytest.mark.parametrize("encoding", [UNSIGNED, SIGNED], ids=str)
def test_a_clip_is_free_where_the_encoding_ends_with_it(
    encoding: Encoding, interval: Interval, low: float, high: float, alike: bool
) -> None:
    assert clips_alike(encode_activation(interval, encoding), encoding, low, high) is alike


@given(interval=intervals, low=st.floats(-1024, 0, width=32), high=st.floats(0, 1024, width=32))
def test_a_free_clip_changes_no_value_by_more_than_half_a_step(
    interval: Interval, low: float, high: float
) -> None:
    quant = encode_activation(interval, UNSIGNED)
    if clips_alike(quant, UNSIGNED, low, high):
        values = quant.scale * (np.arange(256.0) - quant.zero_point)
        worst = np.abs(np.clip(values, low, high) - values).max()
        assert worst <= quant.scale * 0.501


def test_symmetric_unsigned_encoding_clips_no_relu() -> None:
    quant = encode_activation(Interval(0.0, 1.0), UNSIGNED_MIDDLE)
    assert not clips_alike(quant, UNSIGNED_MIDDLE, 0.0, math.inf)


def test_weights_get_a_scale_per_output_channel() -> None:
    quant = encode_weight(gemm([[1.27, 0.0], [-2.54, 1.0], [0.0, 12.7]]), PER_CHANNEL, 1.0)
    np.testing.assert_allclose(quant.scales, [0.01, 0.02, 0.1], rtol=1e-6)
    assert (quant.input, quant.axis, quant.limit, quant.bias) == (1, 1, 127, None)


def test_weights_get_one_scale_where_the_scheme_wants_one() -> None:
    quant = encode_weight(gemm([[1.27, 0.0], [-2.54, 1.0]]), PER_TENSOR, 1.0)
    assert quant.axis is None
    np.testing.assert_allclose(quant.scales, [0.02], rtol=1e-6)


def test_seven_bit_weights_end_at_63() -> None:
    quant = encode_weight(gemm([[-0.63, 0.2]]), SEVEN_BIT, 1.0)
    assert quant.limit == 63
    np.testing.assert_allclose(quant.scales, [0.01], rtol=1e-6)


def test_a_transposed_gemm_has_its_channels_in_front() -> None:
    found = product([1.27, 0.0, 0.0, 2.54], "2,2", "y = Gemm<transB=1>(x, w)")
    quant = encode_weight(found, PER_CHANNEL, 1.0)
    assert quant.axis == 0
    np.testing.assert_allclose(quant.scales, [0.01, 0.02], rtol=1e-6)


def test_a_dead_channel_gets_a_usable_scale() -> None:
    quant = encode_weight(gemm([[0.0, 0.0], [1.27, 0.0]]), PER_CHANNEL, 1.0)
    np.testing.assert_allclose(quant.scales, [1.0, 0.01], rtol=1e-6)


def test_the_bias_of_a_dead_channel_is_kept() -> None:
    quant = encode_weight(gemm([[0.0, 0.0], [1.27, 0.0]], bias=[0.7, 0.1]), PER_CHANNEL, 0.5)
    stored = np.rint(0.7 / (np.float32(0.5) * np.float32(quant.scales[0])))
    assert stored * 0.5 * quant.scales[0] == pytest.approx(0.7, rel=1e-6)


@given(
    weight=st.floats(2**-20, 1024, width=32),
    bias=st.floats(-(2**20), 2**20, width=32),
    input_scale=st.floats(2**-20, 1024, width=32),
)
@example(weight=1e-6, bias=1e6, input_scale=2**-20)
def test_a_bias_never_overflows_int32(weight: float, bias: float, input_scale: float) -> None:
    quant = encode_weight(gemm([[weight, -weight]], bias=[bias]), PER_CHANNEL, input_scale)
    assert quant.bias == 2
    scale = np.float64(np.float32(input_scale) * np.float32(quant.scales[0]))
    assert abs(bias) / scale <= 2**30 * (1 + 1e-5)
    assert quant.scales[0] >= weight / 127 * (1 - 1e-6)


def test_a_bias_that_fits_costs_no_precision() -> None:
    with_bias = encode_weight(gemm([[1.0, 0.5]], bias=[3.0]), PER_CHANNEL, 0.01)
    without = encode_weight(gemm([[1.0, 0.5]]), PER_CHANNEL, 0.01)
    assert with_bias.scales == without.scales


def test_a_bias_in_float_changes_no_scale() -> None:
    quant = encode_weight(gemm([[1e-6, 0.0], [1.27, 0.0]], bias=[1e6, 0.0]), PER_CHANNEL, None)
    np.testing.assert_allclose(quant.scales, [1e-6 / 127, 0.01], rtol=1e-6)
    assert quant.bias is None


def test_weight_quant_is_a_value() -> None:
    encoded = encode_weight(gemm([[1.0, 0.5]]), PER_CHANNEL, 0.01)
    assert encoded == WeightQuant(1, "int8", 1, encoded.scales, 127, None)
    assert hash(encoded) == hash(encode_weight(gemm([[1.0, 0.5]]), PER_CHANNEL, 0.01))


@pytest.mark.parametrize(
    ("weights", "scales", "limit"),
    [
        ([[-1.28, 1.27]], (0.01,), 128),
        ([[-1.27, 1.27]], (0.01,), 127),
        ([[-1.27, 1.29]], (0.01,), 127),
        ([[-1.276, 1.0], [0.5, 0.5]], (0.01, 0.01), 128),
        ([[0.5, 0.5], [-2.56, 1.0]], (0.01, 0.02), 128),
        ([[-1.28, 0.5], [1.0, 1.0]], (0.02, 0.01), 127),
    ],
)
def test_the_lowest_integer_of_known_scales_is_stored(
    weights: list[list[float]], scales: tuple[float, ...], limit: int
) -> None:
    found = gemm(weights)
    known = with_scales(encode_weight(found, PER_CHANNEL, None), found, scales)
    assert (known.scales, known.limit) == (scales, limit)


def test_known_scales_of_narrower_types_keep_their_limit() -> None:
    found = gemm([[-1.28, 1.27]])
    for encoding in (SEVEN_BIT, Encoding("float8e4m3fn", symmetric=True, low=-448, high=448)):
        quant = encode_weight(found, encoding, None)
        assert with_scales(quant, found, (0.01,)).limit == quant.limit
