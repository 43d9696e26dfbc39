"""Resize as gathers and weighted sums along one axis after the other.

Coordinates, weights and their names as in ONNX's operator Resize, whose cubic weights are those of
Keys (1981); the antialiased filters are stretched by the scale, as Pillow's are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from bmopt.core.runner import Array
from bmopt.optimizer.decomposing.emitter import Emitter, known, need
from bmopt.optimizer.sweeps import RefusedError

_SINCE = 11
_EVERYWHERE = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_IMAGE_RANKS = (3, 4, 5)
_HALF = np.float32(0.5)

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class _Axis:
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


def replace_resize(emit: Emitter) -> bool:
    """Replace the emitter's Resize, unless it is one that every engine has the same way.

    Raises:
        RefusedError: Sizes are not known, or a part of the input is cropped.
    """
    node = emit.node
    if emit.version < _SINCE:
        raise RefusedError(f"is a Resize of an opset before {_SINCE}")
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize":
        raise RefusedError("crops its input")
    value = need(node, 0)
    if value.shape is None:
        raise RefusedError("has an input of unknown rank")
    axes = _axes(node, list(value.shape))
    if _is_plain(node, mode, axes, len(value.shape)):
        return False
    if value.dtype != ir.DataType.FLOAT and node.attributes.get_string("mode") != "nearest":
        raise RefusedError("has an input of another type than FLOAT")
    rank = len(value.shape)
    for axis in axes:
        value = _along(emit, value, axis, mode, rank)
    return emit.finish([value if axes else emit.op("Identity", value)])


def _axes(node: ir.Node, shape: Sequence[object]) -> list[_Axis]:
    given = node.attributes.get_ints("axes", ()) or range(len(shape))
    places = [axis % len(shape) for axis in given]
    scales, sizes = known(node, 2), known(node, 3)
    if sizes is None and (scales is None or not scales.size):
        raise RefusedError("has neither scales nor sizes")
    found = []
    for index, place in enumerate(places):
        size = shape[place]
        if sizes is None:
            assert scales is not None
            scale = np.float32(scales[index])
            if scale == 1:
                continue
        if not isinstance(size, int):
            raise RefusedError("has an input of unknown size; fix it with --shapes")
        if sizes is not None:
            found.append(_sized(node, place, size, [int(one) for one in sizes], shape, places))
        else:
            length = math.floor(np.float32(size) * scale)
            found.append(_Axis(place, size, length, scale))
    return [axis for axis in found if axis.size != axis.length or axis.scale != 1]


def _sized(
    node: ir.Node,
    place: int,
    size: int,
    sizes: Sequence[int],
    shape: Sequence[object],
    places: Sequence[int],
) -> _Axis:
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    own = sizes[places.index(place)]
    if policy == "stretch":
        return _Axis(place, size, own, np.float32(own) / np.float32(size))
    before = [shape[one] for one in places]
    if not all(isinstance(one, int) for one in before):
        raise RefusedError("has an input of unknown size; fix it with --shapes")
    ratios = [
        np.float32(want) / np.float32(have)
        for want, have in zip(sizes, before, strict=True)
        if isinstance(have, int)
    ]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return _Axis(place, size, math.floor(float(scale) * size + 0.5), scale)


def _is_plain(node: ir.Node, mode: str, axes: Sequence[_Axis], rank: int) -> bool:
    """Whether all engines agree: an image whose sides change by the ratio of their sizes."""
    method = node.attributes.get_string("mode", "nearest")
    special = node.attributes.get_int("antialias", 0) or "axes" in node.attributes
    exact = all(axis.scale == np.float32(axis.length) / np.float32(axis.size) for axis in axes)
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    return (
        exact
        and not special
        and policy == "stretch"
        and mode in _EVERYWHERE
        and method in ("nearest", "linear")
        and rank in _IMAGE_RANKS
        and all(axis.place > 1 and axis.length > 1 for axis in axes)
    )


def _along(emit: Emitter, value: ir.Value, axis: _Axis, mode: str, rank: int) -> ir.Value:
    node = emit.node
    places = _coordinates(axis, mode)
    method = node.attributes.get_string("mode", "nearest")
    if method == "nearest":
        order = _nearest(places, node.attributes.get_string("nearest_mode", "round_prefer_floor"))
        index = emit.constant(np.clip(order, 0, axis.size - 1), "index")
        return emit.op("Gather", value, index, axis=axis.place)
    weights = _weights(node, axis, places, method)
    taps = np.count_nonzero(weights, axis=1).max()
    if taps <= 2:
        return _two_taps(emit, value, axis, weights, rank)
    return _product(emit, value, axis, weights, rank)


def _coordinates(axis: _Axis, mode: str) -> Floats:
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
    elif mode not in _EVERYWHERE:
        raise RefusedError(f"has the coordinates {mode}")
    return places.astype(np.float32)


def _nearest(places: Floats, how: str) -> NDArray[np.int64]:
    rounded: Floats = {
        "round_prefer_floor": np.ceil(places - _HALF),
        "round_prefer_ceil": np.floor(places + _HALF),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }[how]
    return rounded.astype(np.int64)


def _weights(node: ir.Node, axis: _Axis, places: Floats, method: str) -> Floats:
    """Return the share of every input in every output, outputs times inputs."""
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


def _two_taps(emit: Emitter, value: ir.Value, axis: _Axis, weights: Floats, rank: int) -> ir.Value:
    first = np.argmax(weights != 0, axis=1)
    second = np.minimum(first + 1, axis.size - 1)
    rows = np.arange(axis.length)
    share = np.where(second > first, weights[rows, second], 0).astype(np.float32)
    shape = [axis.length, *[1] * (rank - 1 - axis.place)]
    low = emit.op("Gather", value, emit.constant(first), axis=axis.place)
    if not share.any():
        return low
    high = emit.op("Gather", value, emit.constant(second), axis=axis.place)
    kept = emit.op("Mul", low, emit.constant((1 - share).reshape(shape)))
    return emit.op("Add", kept, emit.op("Mul", high, emit.constant(share.reshape(shape))))


def _product(emit: Emitter, value: ir.Value, axis: _Axis, weights: Floats, rank: int) -> ir.Value:
    if axis.place == rank - 1:
        return emit.op("MatMul", value, emit.constant(np.ascontiguousarray(weights.T)))
    if axis.place == rank - 2:
        return emit.op("MatMul", emit.constant(weights), value)
    order = list(range(rank))
    order[axis.place], order[-1] = order[-1], order[axis.place]
    turned = emit.op("Transpose", value, perm=order)
    product = emit.op("MatMul", turned, emit.constant(np.ascontiguousarray(weights.T)))
    return emit.op("Transpose", product, perm=order)
