"""How strongly to move the range of an activation's channels into weights, by trial.

Source: Xiao et al. 2023, "SmoothQuant: Accurate and Efficient Post-Training Quantization for
Large Language Models", arXiv:2211.10438, equation 4; the strength is searched per activation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from bmopt.calibration.encoding import encode_activation
from bmopt.core.ranges import Interval
from bmopt.core.runner import Array
from bmopt.core.scheme import Encoding
from bmopt.graph.cross_layer import FactorLimits

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""0 leaves the channels alone; 1 gives all of them the same range."""

_SMALLEST = 1e-30


@dataclasses.dataclass(frozen=True)
class Fold:
    """A part of the rows that a reader read, and extremes to quantise them with.

    Extremes of other rows than these show what scaling does to values that calibration has not
    seen: the more even the channels' ranges are, the more of such values exceed them.

    Attributes:
        rows: float32 ``[rows, channels]``, a sample of what the reader read.
        low: float32 ``[channels]``, the smallest value of each channel.
        high: The largest one.
    """

    rows: Array
    low: Array
    high: Array


@dataclasses.dataclass(frozen=True)
class Read:
    """One reader of an activation: what it read, and its weight.

    Attributes:
        folds: Its rows, at least one fold. Where the reader has a multiple of the factors'
            channels, each factor counts for a run of them.
        weight: float ``[groups, inputs of a group, taps, outputs of a group]``. The taps of a
            convolution are taken as products of their own, as their errors add up.
    """

    folds: tuple[Fold, ...]
    weight: Array


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        factors: float64 ``[channels]``, what to multiply the activation's channels by.
        strength: The strength they come from; 0 with factors of 1.
        errors: Strength -> squared error of the readers' outputs over their squared values, the
            sum over readers and folds.
    """

    factors: Array
    strength: float
    errors: Mapping[float, float]


def search_scaling(
    reads: Sequence[Read],
    activation: Encoding,
    weight: Encoding,
    *,
    limits: FactorLimits,
    strengths: Sequence[float] = STRENGTHS,
    headroom: float = 1.0,
) -> Search:
    """Return the factors with the least error of the readers' quantised products.

    For strength a, channel c is divided by ``max|x_c|^a / max|w_c|^(1-a)``. Activations are
    quantised per tensor from the extremes, weights as their encoding says. No scaling is always
    tried and wins ties, so on the folds of ``reads`` the result is never worse than that. The
    factors returned are those that the strength gives for the extremes of all folds.

    Args:
        reads: The readers; at least one, all with the same number of folds.
        activation: Encoding of the activation.
        weight: Encoding of the weights.
        limits: Of the factors; their number is that of the channels.
        strengths: Which to try, each in [0, 1].
        headroom: No channel grows beyond the largest one over this, so that values somewhat
            larger than all that were seen still fit.
    """
    exact = [[_product(fold.rows, read.weight) for fold in read.folds] for read in reads]
    ones = np.ones(len(limits.high))
    errors = {}
    for strength in dict.fromkeys((0.0, *strengths)):
        errors[strength] = 0.0
        for part in range(len(reads[0].folds)):
            folds = [read.folds[part] for read in reads]
            factors = ones
            if strength:
                factors = _factors(reads, folds, limits, strength, headroom)
            for read, fold, want in zip(reads, folds, exact, strict=True):
                got = _quantized_product(fold, read.weight, factors, activation, weight)
                errors[strength] += _relative(got, want[part])
    best = min(errors, key=errors.__getitem__)
    pooled = [_pooled(read.folds) for read in reads]
    factors = _factors(reads, pooled, limits, best, headroom) if best else ones
    return Search(factors, best, errors)


def _pooled(folds: Sequence[Fold]) -> Fold:
    low = np.min([fold.low for fold in folds], axis=0)
    high = np.max([fold.high for fold in folds], axis=0)
    return Fold(folds[0].rows, low, high)


def _factors(
    reads: Sequence[Read],
    folds: Sequence[Fold],
    limits: FactorLimits,
    strength: float,
    headroom: float,
) -> Array:
    channels = len(limits.high)
    largest, heaviest = np.zeros(channels), np.zeros(channels)
    for read, fold in zip(reads, folds, strict=True):
        bound = np.maximum(np.abs(fold.low), np.abs(fold.high)).astype(np.float64)
        largest = np.maximum(largest, bound.reshape(channels, -1).max(axis=1))
        weights = _weight_per_input(read.weight).reshape(channels, -1).max(axis=1)
        heaviest = np.maximum(heaviest, weights)
    alive = (largest > 0.0) & (heaviest > 0.0)
    if not alive.any():
        return np.ones(channels)
    largest, heaviest = np.where(alive, largest, 1.0), np.where(alive, heaviest, 1.0)
    wanted = heaviest ** (1.0 - strength) / largest**strength
    top = float((largest * wanted)[alive].max())
    level = np.maximum(largest / largest[alive].max(), 1.0 / headroom)
    wanted = np.minimum(wanted, level * top / largest)
    typical = np.exp(np.mean(np.log(wanted[alive])))
    return limits.fitted(np.where(alive, wanted, typical))


def _weight_per_input(weight: Array) -> Array:
    """Return the largest magnitude per input over the reader's; 1 where each has its own scale."""
    groups, inputs = weight.shape[:2]
    if inputs == 1:
        return np.ones(groups)
    found = np.abs(weight).max(axis=(2, 3)).astype(np.float64).reshape(-1)
    ratios: Array = found / max(float(found.max(initial=0.0)), _SMALLEST)
    return ratios


def _relative(got: Array, want: Array) -> float:
    error = float(np.square(got - want, dtype=np.float64).sum())
    return error / max(float(np.square(want, dtype=np.float64).sum()), _SMALLEST)


def _quantized_product(
    fold: Fold, weight: Array, factors: Array, activation: Encoding, encoding: Encoding
) -> Array:
    groups, inputs = weight.shape[:2]
    along = np.repeat(factors, groups * inputs // len(factors)).astype(np.float32)
    interval = Interval(float((fold.low * along).min()), float((fold.high * along).max()))
    rows = quantized_rows(fold.rows * along, interval, activation)
    scaled = weight / along.reshape(groups, inputs, 1, 1)
    return _product(rows, quantized_weight(scaled, encoding))


def quantized_rows(rows: Array, interval: Interval, encoding: Encoding) -> Array:
    """Return ``rows`` as they are after quantising and dequantising with an interval."""
    quant = encode_activation(interval, encoding)
    scaled = rows / np.float32(quant.scale)
    if encoding.dtype == "float8e4m3fn":
        return _as_float8(scaled, encoding) * np.float32(quant.scale)
    zero = np.float32(quant.zero_point)
    integers: Array = np.clip(np.rint(scaled) + zero, encoding.low, encoding.high) - zero
    return integers * np.float32(quant.scale)


def quantized_weight(weight: Array, encoding: Encoding) -> Array:
    """Return a weight, in groups as ``Read`` has it, after quantising and dequantising."""
    limit = min(encoding.high, -encoding.low)
    largest = np.abs(weight).max(axis=(1, 2), keepdims=True)
    if not encoding.per_channel:
        largest = largest.max(keepdims=True)
    scales = np.maximum(largest / limit, np.float32(_SMALLEST)).astype(np.float32)
    if encoding.dtype == "float8e4m3fn":
        stored = _as_float8(weight / scales, encoding)
    else:
        stored = np.rint(weight / scales)
    restored: Array = stored * scales
    return restored


def _as_float8(scaled: Array, encoding: Encoding) -> Array:
    clipped = np.clip(scaled, encoding.low, encoding.high)
    restored: Array = clipped.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    return restored


def _product(rows: Array, weight: Array) -> Array:
    """Return ``[groups, rows, taps * outputs of a group]``."""
    groups, inputs = weight.shape[:2]
    split = rows.reshape(len(rows), groups, inputs).transpose(1, 0, 2)
    product: Array = np.matmul(split, weight.reshape(groups, inputs, -1))
    return product
