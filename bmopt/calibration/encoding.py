"""Scales and zero points from ranges.

Affine encoding as in Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference" (2018): real = scale * (integer - zero_point), 0 exact.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bmopt.core.plan import ActivationQuant, WeightQuant
from bmopt.core.ranges import Interval
from bmopt.core.runner import Array
from bmopt.core.scheme import Encoding
from bmopt.errors import QuantizationError
from bmopt.graph.products import Product
from bmopt.graph.values import constant_array

_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
_LOWEST_LIMIT = 128
_BIAS_LIMIT = float(1 << 30)
_HALF_STEP = 0.5 + 2**-12
"""Half a step and what rounding a scale to float32 adds to it over 256 steps."""


def encode_activation(interval: Interval, encoding: Encoding) -> ActivationQuant:
    """Return scale and zero point so that ``interval`` and 0 fit ``encoding``.

    The scale is a float32 number, as it will be stored.
    """
    low, high = min(interval.low, 0.0), max(interval.high, 0.0)
    if encoding.symmetric:
        middle = 128 if encoding.dtype == "uint8" else 0
        bound = max(-low, high)
        scale = _as_scale(bound / min(encoding.high - middle, middle - encoding.low))
        return ActivationQuant(encoding.dtype, scale, middle)
    scale = _as_scale((high - low) / (encoding.high - encoding.low))
    zero = round(encoding.low - low / scale)
    return ActivationQuant(encoding.dtype, scale, int(min(max(zero, encoding.low), encoding.high)))


def _as_scale(value: float) -> float:
    return float(np.float32(max(value, _SMALLEST_SCALE)))


def clips_alike(quant: ActivationQuant, encoding: Encoding, low: float, high: float) -> bool:
    """Whether every value of the encoding lies in [low, high], so that a clip to it is free.

    Half a step beyond the bounds is let pass: rounding itself moves a value as far.
    """
    slack = quant.scale * _HALF_STEP
    smallest = (encoding.low - quant.zero_point) * quant.scale
    largest = (encoding.high - quant.zero_point) * quant.scale
    return smallest >= low - slack and largest <= high + slack


def encode_weight(product: Product, encoding: Encoding, input_scale: float | None) -> WeightQuant:
    """Return the scales of the product's weight: the largest magnitude fills the type.

    A scale grows where the bias, stored as int32 at ``input_scale * scale``, would overflow;
    without ``input_scale`` the bias stays in float.
    """
    limit = min(encoding.high, -encoding.low)
    weight = np.abs(product.weight().astype(np.float64, copy=False))
    axes = tuple(a for a in range(weight.ndim) if a != product.axis)
    largest = weight.max(axis=axes) if weight.size else np.zeros(product.channels)
    scales = largest / limit
    if input_scale is not None:
        bias = _bias_magnitude(product)
        scales = np.maximum(scales, np.maximum(bias / (input_scale * _BIAS_LIMIT), 0.0))
    if not encoding.per_channel:
        scales = scales.max(keepdims=True)
    scales = np.where(scales > _SMALLEST_SCALE, scales, 1.0).astype(np.float32)
    axis = product.axis if encoding.per_channel else None
    return WeightQuant(
        input=1,
        dtype=encoding.dtype,
        axis=axis,
        scales=tuple(float(s) for s in scales),
        limit=limit,
        bias=None if input_scale is None else product.bias,
    )


def with_scales(quant: WeightQuant, product: Product, scales: tuple[float, ...]) -> WeightQuant:
    """Return ``quant`` with scales that are known: one, or one per output channel.

    Where the weight holds -128 of its scales, that is what is stored.

    Raises:
        QuantizationError: Their number fits neither, or one is not a positive number.
    """
    node = product.node.name
    if len(scales) not in (1, product.channels):
        raise QuantizationError(
            f"node {node!r}: {len(scales)} scales for a weight of {product.channels} output "
            "channels; give one, or one per channel"
        )
    if not all(0.0 < scale < math.inf for scale in scales):
        raise QuantizationError(
            f"node {node!r}: a scale of its weight is not a positive number; export it again"
        )
    axis = product.axis if len(scales) > 1 else None
    limit = _LOWEST_LIMIT if _holds_lowest(quant, product, scales) else quant.limit
    return dataclasses.replace(quant, axis=axis, scales=scales, limit=limit)


def _holds_lowest(quant: WeightQuant, product: Product, scales: tuple[float, ...]) -> bool:
    """Whether a number of the weight is rounded to -128 in a type that has it."""
    if quant.limit != _LOWEST_LIMIT - 1:
        return False
    weight = np.moveaxis(product.weight(), product.axis, -1)
    lowest: Array = np.rint(weight / np.array(scales, np.float32))
    return bool(lowest.size and lowest.min() <= -_LOWEST_LIMIT)


def _bias_magnitude(product: Product) -> Array:
    zero = np.zeros(product.channels)
    if product.bias is None:
        return zero
    bias = constant_array(product.node.inputs[product.bias])
    return zero if bias is None else np.abs(bias.reshape(-1).astype(np.float64)) + zero
