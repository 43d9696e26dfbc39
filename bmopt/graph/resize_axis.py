"""What Resize does along one axis: which elements of the input make one of the output.

Coordinates, weights and their names as in ONNX's operator Resize, whose cubic weights are those of
Keys (1981); the antialiased filters are stretched by the scale, as Pillow's are.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bmopt.core.runner import Array

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
)  # fmt: skip
"""Values of ``coordinate_transformation_mode`` that do not crop."""

_HALF = np.float32(0.5)

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ResizeAxis:
    """One axis that changes its size.

    Attributes:
        place: Which it is.
        size: Of the input.
        length: Of the output.
        scale: What coordinates are divided by; not always the ratio of the sizes.
    """

    place: int
    size: int
    length: int
    scale: np.float32


def coordinates(axis: ResizeAxis, mode: str) -> Floats:
    """Return where each element of the output lies among those of the input, ``[length]``.

    Args:
        axis: The axis.
        mode: One of ``COORDINATES``.
    """
    index = np.arange(axis.length, dtype=np.float32)
    if mode == "asymmetric":
        return index / axis.scale
    if mode == "align_corners":
        if axis.length == 1:
            return np.zeros(1, np.float32)
        return index * np.float32(axis.size - 1) / np.float32(axis.length - 1)
    if mode == "pytorch_half_pixel" and axis.length == 1:
        return np.zeros(1, np.float32)
    places = (index + _HALF) / axis.scale - _HALF
    if mode == "half_pixel_symmetric":
        share = np.float32(axis.length) / (axis.scale * np.float32(axis.size))
        places = places + np.float32(axis.size) * _HALF * (1 - share)
    return places.astype(np.float32)


def nearest(axis: ResizeAxis, places: Floats, how: str) -> NDArray[np.int64]:
    """Return which element of the input each of the output is, ``[length]``.

    Args:
        axis: The axis.
        places: As of ``coordinates``.
        how: ONNX's ``nearest_mode``.
    """
    rounded: Floats = {
        "round_prefer_floor": np.ceil(places - _HALF),
        "round_prefer_ceil": np.floor(places + _HALF),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }[how]
    return np.clip(rounded.astype(np.int64), 0, axis.size - 1)


def weights(node: ir.Node, axis: ResizeAxis, places: Floats, method: str) -> Floats:
    """Return the share of every element of the input in each of the output, ``[length, size]``.

    Args:
        node: The Resize.
        axis: The axis.
        places: As of ``coordinates``.
        method: ``"linear"`` or ``"cubic"``.
    """
    reach = 1 if method == "linear" else 2
    stretch = min(float(axis.scale), 1.0) if node.attributes.get_int("antialias", 0) else 1.0
    reach = math.ceil(reach / stretch) + 1
    curve = node.attributes.get_float("cubic_coeff_a", -0.75)
    outside = node.attributes.get_int("exclude_outside", 0)
    found = np.zeros((axis.length, axis.size), np.float64)
    for row, place in enumerate(places.astype(np.float64)):
        taps = math.floor(place) + np.arange(-reach + 1, reach + 1)
        apart = np.abs(taps - place) * stretch
        shares = _triangle(apart) if method == "linear" else _cubic(apart, curve)
        if outside:
            shares = np.where((taps >= 0) & (taps < axis.size), shares, 0.0)
        if outside or stretch < 1:
            shares = shares / shares.sum()
        np.add.at(found[row], np.clip(taps, 0, axis.size - 1), shares)
    return found.astype(np.float32)


def _triangle(apart: Array) -> Array:
    shares: Array = np.clip(1 - apart, 0, 1)
    return shares


def _cubic(apart: Array, a: float) -> Array:
    near = ((a + 2) * apart - (a + 3)) * apart * apart + 1
    far = ((a * apart - 5 * a) * apart + 8 * a) * apart - 4 * a
    curve: Array = np.where(apart <= 1, near, np.where(apart < 2, far, 0.0))
    return curve


def two_taps(
    shares: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats] | None:
    """Return two elements of the input for each of the output, and the share of the second.

    None where one of the output has more than two.

    Args:
        shares: As of ``weights``.
    """
    if np.count_nonzero(shares, axis=1).max() > 2:
        return None
    first = np.argmax(shares != 0, axis=1)
    second = np.minimum(first + 1, shares.shape[1] - 1)
    rows = np.arange(len(shares))
    share = np.where(second > first, shares[rows, second], 0).astype(np.float32)
    return first, second, share
