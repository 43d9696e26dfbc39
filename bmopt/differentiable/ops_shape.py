"""What only moves values, in torch."""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.differentiable.call import Call, Op, has_input, with_constants
from bmopt.differentiable.torch_access import Tensor


def _first(call: Call) -> Tensor:
    x = call.inputs[0]
    assert x is not None
    return x


def _flatten(call: Call) -> Tensor:
    x, axis = _first(call), call.integer("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _reshape(call: Call) -> Tensor:
    x, shape = _first(call), call.sizes(1)
    kept = not call.integer("allowzero", 0)
    return x.reshape([x.shape[i] if size == 0 and kept else size for i, size in enumerate(shape)])


def _transpose(call: Call) -> Tensor:
    x = _first(call)
    return x.permute(call.integers("perm") or list(range(x.dim()))[::-1])


def _concat(call: Call) -> Tensor:
    return call.torch.cat(list(call.inputs), dim=call.integer("axis", 0))


def _squeeze(call: Call) -> Tensor:
    x = _first(call)
    axes = call.integers("axes") or call.constant(1)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(call: Call) -> Tensor:
    x = _first(call)
    axes = call.integers("axes") or call.constant(1) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _slice(call: Call) -> Tensor:
    x = _first(call)
    starts, ends, axes, steps = (call.sizes(i) if i < 3 else call.constant(i) for i in range(1, 5))
    assert starts is not None
    assert ends is not None
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = index if axes is None else axes[index]
        x = _sliced(call, x, axis, slice(start, end, 1 if steps is None else steps[index]))
    return x


def _sliced(call: Call, x: Tensor, axis: int, part: slice) -> Tensor:
    bounds = part.indices(x.shape[axis])
    if bounds[2] < 0:  # which torch has no view for
        return x.index_select(axis, call.torch.arange(*bounds, device=x.device))
    whole = [slice(None)] * x.dim()
    whole[axis] = slice(*bounds)
    return x[tuple(whole)]


def _split(call: Call) -> tuple[Tensor, ...]:
    x, axis = _first(call), call.integer("axis", 0)
    sizes = call.integers("split") or call.sizes(1)
    if not sizes:
        whole = -(-x.shape[axis] // len(call.node.outputs))
        return tuple(x.split(whole, axis))
    return tuple(x.split(sizes, axis))


def _depth_to_space(call: Call) -> Tensor:
    x, side = _first(call), call.integer("blocksize", 1)
    batch, channels, height, width = x.shape
    if call.text("mode", "DCR") == "CRD":
        return call.torch.pixel_shuffle(x, side)
    apart = x.reshape(batch, side, side, channels // side**2, height, width)
    turned = apart.permute(0, 3, 4, 1, 5, 2)
    return turned.reshape(batch, channels // side**2, height * side, width * side)


def _space_to_depth(call: Call) -> Tensor:
    x, side = _first(call), call.integer("blocksize", 1)
    batch, channels, height, width = x.shape
    apart = x.reshape(batch, channels, height // side, side, width // side, side)
    turned = apart.permute(0, 3, 5, 1, 2, 4)
    return turned.reshape(batch, channels * side**2, height // side, width // side)


def _tile(call: Call) -> Tensor:
    return _first(call).tile(call.sizes(1))


def _gather(call: Call) -> Tensor:
    x, axis = _first(call), call.integer("axis", 0)
    indices = call.inputs[1]
    assert indices is not None
    whole = indices.long()
    found = x.index_select(axis, whole.reshape(-1) % x.shape[axis])
    axis %= x.dim()
    return found.reshape([*x.shape[:axis], *whole.shape, *x.shape[axis + 1 :]])


def _shape(call: Call) -> Tensor:
    x = _first(call)
    bounds = slice(call.integer("start", 0), call.integer("end", x.dim())).indices(x.dim())
    return call.torch.tensor([float(x.shape[axis]) for axis in range(*bounds)], device=x.device)


def _filled(call: Call) -> Tensor:
    value = call.node.attributes.get("value")
    number = 0.0 if value is None else float(value.as_tensor().numpy().reshape(-1)[0])
    sizes = _first(call)
    return call.torch.full(call.sizes(0), number, device=sizes.device)


def _expand(call: Call) -> Tensor:
    x, shape = _first(call), call.sizes(1)
    return x.expand(call.torch.broadcast_shapes(x.shape, tuple(shape)))


def _pad(call: Call) -> Tensor:
    x = _first(call)
    amounts = call.constant(1) or []
    rank = len(amounts) // 2
    axes = call.constant(3)
    pairs = [(0, 0)] * x.dim()
    for index in range(rank):
        axis = index if axes is None else axes[index]
        pairs[axis] = (amounts[index], amounts[index + rank])
    value = call.inputs[2] if has_input(call.node, 2) else None
    by = 0.0 if value is None else float(value)
    flat = [amount for pair in reversed(pairs) for amount in pair]
    return call.torch.nn.functional.pad(x, flat, value=by)


def _has_slice_inputs(node: ir.Node) -> bool:
    return has_input(node, 1) and has_input(node, 2) and with_constants(3, 4)(node)


def _pads_by_constant(node: ir.Node) -> bool:
    mode = node.attributes.get_string("mode", "constant")
    return mode == "constant" and len(node.inputs) > 1 and with_constants(1, 2, 3)(node)


SHAPES: dict[str, Op] = {
    "Flatten": Op(_flatten),
    "Reshape": Op(_reshape),
    "Transpose": Op(_transpose),
    "Concat": Op(_concat),
    "Squeeze": Op(_squeeze, with_constants(1)),
    "Unsqueeze": Op(_unsqueeze, with_constants(1)),
    "Shape": Op(_shape),
    "ConstantOfShape": Op(_filled),
    "Gather": Op(_gather),
    "Expand": Op(_expand),
    "Slice": Op(_slice, _has_slice_inputs),
    "Split": Op(_split, has_several=True),
    "DepthToSpace": Op(_depth_to_space),
    "SpaceToDepth": Op(_space_to_depth),
    "Tile": Op(_tile),
    "Pad": Op(_pad, _pads_by_constant),
}
"""Op type -> how it runs."""
