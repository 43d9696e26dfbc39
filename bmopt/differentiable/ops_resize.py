"""Resize in torch: along each axis, elements are picked or two are mixed, by ONNX's formulas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.differentiable.call import Call, Op, has_input
from bmopt.differentiable.torch_access import Tensor
from bmopt.graph.values import constant_array

_Floats = npt.NDArray[np.float32]
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def _resize(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    for axis, (count, scale) in enumerate(_targets(call, list(x.shape))):
        if count != x.shape[axis]:
            x = _along(call, x, axis, _coordinates(call, x.shape[axis], count, scale))
    return x


def _targets(call: Call, sizes: list[int]) -> list[tuple[int, float]]:
    """Return how long each axis becomes, and by which factor."""
    if has_input(call.node, 3):
        wanted = call.sizes(3)
        return [(new, new / old) for new, old in zip(wanted, sizes, strict=True)]
    scales = constant_array(call.node.inputs[2])
    assert scales is not None
    return [(int(old * scale), float(scale)) for old, scale in zip(sizes, scales, strict=True)]


def _coordinates(call: Call, before: int, after: int, scale: float) -> _Floats:
    """Return where each element lies among those before."""
    mode = call.text("coordinate_transformation_mode", "half_pixel")
    index = np.arange(after, dtype=np.float32)
    if mode == "asymmetric":
        return (index / np.float32(scale)).astype(np.float32)
    if mode == "align_corners":
        return (index * np.float32((before - 1) / max(1, after - 1))).astype(np.float32)
    if mode == "pytorch_half_pixel" and after == 1:
        return np.zeros(1, np.float32)
    return ((index + 0.5) / np.float32(scale) - np.float32(0.5)).astype(np.float32)


def _along(call: Call, x: Tensor, axis: int, places: _Floats) -> Tensor:
    def picked(index: Array) -> Tensor:
        inside = np.clip(index, 0, x.shape[axis] - 1).astype(np.int64)
        return x.index_select(axis, call.torch.from_numpy(inside).to(x.device))

    if call.text("mode", "nearest") == "nearest":
        rounded = {
            "round_prefer_floor": np.ceil(places - 0.5),
            "round_prefer_ceil": np.floor(places + 0.5),
            "floor": np.floor(places),
            "ceil": np.ceil(places),
        }
        return picked(rounded[call.text("nearest_mode", "round_prefer_floor")])
    low = np.floor(places)
    shape = [-1 if at == axis else 1 for at in range(x.dim())]
    share = call.torch.from_numpy(places - low).to(x.device, x.dtype).reshape(shape)
    return picked(low) * (1 - share) + picked(low + 1) * share


def _is_plain(node: ir.Node) -> bool:
    has_scales = has_input(node, 2) and constant_array(node.inputs[2]) is not None
    attributes = node.attributes
    return (
        (has_scales or has_input(node, 3))
        and attributes.get_string("mode", "nearest") in ("nearest", "linear")
        and attributes.get_string("coordinate_transformation_mode", "half_pixel") in _COORDINATES
        and not attributes.get_int("antialias", 0)
        and attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
        and "axes" not in attributes
    )


RESIZES: dict[str, Op] = {"Resize": Op(_resize, _is_plain)}
"""Op type -> how it runs."""
