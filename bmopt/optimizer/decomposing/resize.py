"""Resize as gathers and weighted sums along one axis after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.resize_axis import (
    COORDINATES,
    Floats,
    ResizeAxis,
    coordinates,
    nearest,
    two_taps,
    weights,
)
from bmopt.optimizer.decomposing.emitter import Emitter, known, need
from bmopt.optimizer.sweeps import RefusedError

_SINCE = 11
_EVERYWHERE = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_IMAGE_RANKS = (3, 4, 5)


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
    if mode not in COORDINATES:
        raise RefusedError(f"has the coordinates {mode}")
    if value.dtype != ir.DataType.FLOAT and node.attributes.get_string("mode") != "nearest":
        raise RefusedError("has an input of another type than FLOAT")
    rank = len(value.shape)
    for axis in axes:
        value = _along(emit, value, axis, mode, rank)
    return emit.finish([value if axes else emit.op("Identity", value)])


def _axes(node: ir.Node, shape: Sequence[object]) -> list[ResizeAxis]:
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
            found.append(ResizeAxis(place, size, length, scale))
    return [axis for axis in found if axis.size != axis.length or axis.scale != 1]


def _sized(
    node: ir.Node,
    place: int,
    size: int,
    sizes: Sequence[int],
    shape: Sequence[object],
    places: Sequence[int],
) -> ResizeAxis:
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    own = sizes[places.index(place)]
    if policy == "stretch":
        return ResizeAxis(place, size, own, np.float32(own) / np.float32(size))
    before = [shape[one] for one in places]
    if not all(isinstance(one, int) for one in before):
        raise RefusedError("has an input of unknown size; fix it with --shapes")
    ratios = [
        np.float32(want) / np.float32(have)
        for want, have in zip(sizes, before, strict=True)
        if isinstance(have, int)
    ]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return ResizeAxis(place, size, math.floor(float(scale) * size + 0.5), scale)


def _is_plain(node: ir.Node, mode: str, axes: Sequence[ResizeAxis], rank: int) -> bool:
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


def _along(emit: Emitter, value: ir.Value, axis: ResizeAxis, mode: str, rank: int) -> ir.Value:
    node = emit.node
    places = coordinates(axis, mode)
    method = node.attributes.get_string("mode", "nearest")
    if method == "nearest":
        how = node.attributes.get_string("nearest_mode", "round_prefer_floor")
        index = emit.constant(nearest(axis, places, how), "index")
        return emit.op("Gather", value, index, axis=axis.place)
    shares = weights(node, axis, places, method)
    taps = two_taps(shares)
    if taps is None:
        return _product(emit, value, axis, shares, rank)
    first, second, share = taps
    low = emit.op("Gather", value, emit.constant(first), axis=axis.place)
    if not share.any():
        return low
    shape = [axis.length, *[1] * (rank - 1 - axis.place)]
    high = emit.op("Gather", value, emit.constant(second), axis=axis.place)
    kept = emit.op("Mul", low, emit.constant((1 - share).reshape(shape)))
    return emit.op("Add", kept, emit.op("Mul", high, emit.constant(share.reshape(shape))))


def _product(
    emit: Emitter, value: ir.Value, axis: ResizeAxis, shares: Floats, rank: int
) -> ir.Value:
    if axis.place == rank - 1:
        return emit.op("MatMul", value, emit.constant(np.ascontiguousarray(shares.T)))
    if axis.place == rank - 2:
        return emit.op("MatMul", emit.constant(shares), value)
    order = list(range(rank))
    order[axis.place], order[-1] = order[-1], order[axis.place]
    turned = emit.op("Transpose", value, perm=order)
    product = emit.op("MatMul", turned, emit.constant(np.ascontiguousarray(shares.T)))
    return emit.op("Transpose", product, perm=order)
