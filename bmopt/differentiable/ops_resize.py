"""Resize in torch: along each axis, elements are picked, or weighted and added."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.differentiable.call import Call, Op, has_input
from bmopt.differentiable.torch_access import Tensor
from bmopt.graph.resize_axis import (
    COORDINATES,
    ResizeAxis,
    coordinates,
    nearest,
    two_taps,
    weights,
)
from bmopt.graph.values import constant_array


def _resize(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    for axis in _axes(call, list(x.shape)):
        if axis.length != axis.size or axis.scale != 1:
            x = _along(call, x, axis)
    return x


def _axes(call: Call, sizes: list[int]) -> list[ResizeAxis]:
    if has_input(call.node, 3):
        wanted = call.sizes(3)
        return [
            ResizeAxis(place, old, new, np.float32(new) / np.float32(old))
            for place, (old, new) in enumerate(zip(sizes, wanted, strict=True))
        ]
    scales = constant_array(call.node.inputs[2])
    assert scales is not None
    return [
        ResizeAxis(place, old, int(np.float32(old) * scale), np.float32(scale))
        for place, (old, scale) in enumerate(zip(sizes, scales, strict=True))
    ]


def _along(call: Call, x: Tensor, axis: ResizeAxis) -> Tensor:
    def picked(index: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        return x.index_select(axis.place, call.torch.from_numpy(index).to(x.device))

    places = coordinates(axis, call.text("coordinate_transformation_mode", "half_pixel"))
    method = call.text("mode", "nearest")
    if method == "nearest":
        return picked(nearest(axis, places, call.text("nearest_mode", "round_prefer_floor")))
    shares = weights(call.node, axis, places, method)
    taps = two_taps(shares)
    if taps is None:
        matrix = call.torch.from_numpy(shares).to(x.device, x.dtype)
        return (x.movedim(axis.place, -1) @ matrix.T).movedim(-1, axis.place)
    shape = [-1 if at == axis.place else 1 for at in range(x.dim())]
    share = call.torch.from_numpy(taps[2]).to(x.device, x.dtype).reshape(shape)
    return picked(taps[0]) * (1 - share) + picked(taps[1]) * share


def _is_known(node: ir.Node) -> bool:
    has_scales = has_input(node, 2) and constant_array(node.inputs[2]) is not None
    attributes = node.attributes
    return (
        (has_scales or has_input(node, 3))
        and attributes.get_string("coordinate_transformation_mode", "half_pixel") in COORDINATES
        and attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
        and "axes" not in attributes
    )


RESIZES: dict[str, Op] = {"Resize": Op(_resize, _is_known)}
"""Op type -> how it runs."""
