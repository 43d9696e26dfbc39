"""Which nodes only hand on their first input, told op by op.

Each rule answers for one node: None where the node does something. Rules look at constants,
attributes and shapes alone; where a shape is not known well enough they answer None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array, constant_tensor, producer_of, static_shape

Rule = Callable[[ir.Node], ir.Value | None]

_FAR = 2**31 - 1
"""A slice that ends here or later ends with the axis."""


def handed_on(node: ir.Node) -> ir.Value | None:
    """Return the input that the first output of ``node`` always equals, else None."""
    if node.domain not in ("", "ai.onnx") or not node.inputs or not node.outputs:
        return None
    rule = RULES.get(node.op_type)
    if rule is None or any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        return None
    return rule(node)


def _first(node: ir.Node) -> ir.Value | None:
    return node.inputs[0]


def _dropout(node: ir.Node) -> ir.Value | None:
    training = node.inputs[2] if len(node.inputs) > 2 else None
    if training is None:
        return node.inputs[0]
    flag = constant_array(training)
    return node.inputs[0] if flag is not None and not flag.any() else None


def _cast(node: ir.Node) -> ir.Value | None:
    source, target = node.inputs[0], node.attributes.get_int("to", 0)
    if source is not None and source.dtype is not None and int(source.dtype) == target:
        return source
    inner = producer_of(source, "Cast")
    origin = None if inner is None else inner.inputs[0]
    if origin is None or origin.dtype is None or source is None or source.dtype is None:
        return None
    back = int(origin.dtype) == target and is_lossless(origin.dtype, source.dtype)
    return origin if back else None


def is_lossless(source: ir.DataType, target: ir.DataType) -> bool:
    """Whether every value of type ``source`` survives a cast to ``target``."""
    if source == target:
        return True
    try:
        return bool(np.can_cast(source.numpy(), target.numpy(), casting="safe"))
    except TypeError:
        return False


def _transpose(node: ir.Node) -> ir.Value | None:
    perm = node.attributes.get_ints("perm")
    if perm is None:
        shape = None if node.inputs[0] is None else node.inputs[0].shape
        return node.inputs[0] if shape is not None and shape.rank() < 2 else None
    if list(perm) == list(range(len(perm))):
        return node.inputs[0]
    return _same_shape(node) if moves_only_ones(node) else None


def moves_only_ones(node: ir.Node) -> bool:
    """Whether a Transpose leaves the elements in their order: all axes that move have size 1."""
    data = node.inputs[0]
    if data is None or data.shape is None:
        return False
    perm = node.attributes.get_ints("perm", range(data.shape.rank())[::-1])
    kept = [axis for axis in perm if data.shape[axis] != 1]
    return kept == sorted(kept)


def _reshape(node: ir.Node) -> ir.Value | None:
    data, out = node.inputs[0], node.outputs[0]
    if same_known_shape(data, out):
        return data
    target = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if data is None or data.shape is None or target is None or len(target) != data.shape.rank():
        return None
    keeps_zero = bool(node.attributes.get_int("allowzero", 0))
    open_axes = 0
    for size, dim in zip(target.tolist(), data.shape, strict=True):
        if size == -1:
            open_axes += 1
        elif size != dim and (size != 0 or keeps_zero):
            return None
    return data if open_axes <= 1 else None


def same_known_shape(left: ir.Value | None, right: ir.Value | None) -> bool:
    """Whether both shapes are known, as numbers or by one name for an axis, and equal."""
    if left is None or right is None or left.shape is None or right.shape is None:
        return False
    if left.shape.rank() != right.shape.rank():
        return False
    pairs = zip(left.shape, right.shape, strict=True)
    return all(a == b and (isinstance(a, int) or a.value is not None) for a, b in pairs)


def _same_shape(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if same_known_shape(node.inputs[0], node.outputs[0]) else None


def _expand(node: ir.Node) -> ir.Value | None:
    data, target = node.inputs[0], constant_array(node.inputs[1])
    if data is None or data.shape is None or target is None:
        return None
    return data if _fits(target.tolist(), data) else None


def _fits(shape: Sequence[int], data: ir.Value) -> bool:
    """Whether broadcasting ``data`` with ``shape`` leaves its own shape."""
    if data.shape is None or len(shape) > data.shape.rank():
        return False
    tail = list(data.shape)[data.shape.rank() - len(shape) :]
    return all(size in (1, dim) for size, dim in zip(shape, tail, strict=True))


def _tile(node: ir.Node) -> ir.Value | None:
    repeats = constant_array(node.inputs[1]) if len(node.inputs) == 2 else None
    return node.inputs[0] if repeats is not None and (repeats == 1).all() else None


def _slice(node: ir.Node) -> ir.Value | None:
    bounds = slice_bounds(node)
    data = node.inputs[0]
    if bounds is None or data is None:
        return None
    starts, ends, axes, steps = bounds
    if any(starts) or any(step != 1 for step in steps):
        return None
    shape = data.shape
    for end, axis in zip(ends, axes, strict=True):
        size = shape[axis] if shape is not None and -shape.rank() <= axis < shape.rank() else None
        if end < _FAR and not (isinstance(size, int) and end >= size):
            return None
    return data


def slice_bounds(node: ir.Node) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Return starts, ends, axes, steps of a Slice with constant bounds, else None."""
    parts = _bound_lists(node)
    starts, ends, axes, steps = parts or (None,) * 4
    if starts is None or ends is None:
        return None
    return starts, ends, axes or list(range(len(starts))), steps or [1] * len(starts)


def _bound_lists(node: ir.Node) -> list[list[int] | None] | None:
    if "starts" in node.attributes:
        lists = [node.attributes.get_ints(name) for name in ("starts", "ends", "axes")]
        return [*(None if ints is None else list(ints) for ints in lists), None]
    parts: list[list[int] | None] = []
    for value in [*node.inputs[1:], *[None] * 4][:4]:
        array = None if value is None else constant_array(value)
        if value is not None and array is None:
            return None
        parts.append(None if array is None else [int(x) for x in array])
    return parts


def _pad(node: ir.Node) -> ir.Value | None:
    attribute = node.attributes.get_ints("pads")
    pads = attribute if attribute is not None else _constant_list(node, 1)
    return node.inputs[0] if pads is not None and not any(pads) else None


def _constant_list(node: ir.Node, index: int) -> list[float] | None:
    array = constant_array(node.inputs[index]) if index < len(node.inputs) else None
    return None if array is None else array.reshape(-1).tolist()


def _resize(node: ir.Node) -> ir.Value | None:
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode in ("tf_crop_and_resize", "tf_half_pixel_for_nn"):
        return None
    attribute = node.attributes.get_floats("scales")
    at = 1 if len(node.inputs) == 2 else 2
    scales = attribute if attribute is not None else _constant_list(node, at)
    if scales and all(scale == 1 for scale in scales):
        return node.inputs[0]
    # Without scales the sizes decide, so equal static shapes mean that nothing is resampled.
    return None if scales else _same_shape(node)


def _only_input(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _neutral(number: float, *, either_side: bool) -> Rule:
    def rule(node: ir.Node) -> ir.Value | None:
        left, right = node.inputs
        if _is_all(right, number) and left is not None and _keeps_shape(left, right):
            return left
        if either_side and _is_all(left, number) and right is not None:
            return right if _keeps_shape(right, left) else None
        return None

    return rule


def _is_all(value: ir.Value | None, number: float) -> bool:
    tensor = constant_tensor(value)
    if tensor is None or not tensor.size or tensor.dtype == ir.DataType.STRING:
        return False
    array: Array = tensor.numpy()
    # The first element spares reading the rest of nearly every weight.
    return bool(array.flat[0] == number and (array == number).all())


def _keeps_shape(data: ir.Value, other: ir.Value | None) -> bool:
    shape = static_shape(other)
    if shape is not None and not shape:
        return True
    return shape is not None and _fits(shape, data)


def _squeeze(node: ir.Node) -> ir.Value | None:
    data, out = node.inputs[0], node.outputs[0]
    if data is None or data.shape is None or out.shape is None:
        return None
    return data if data.shape.rank() == out.shape.rank() else None


def _flatten(node: ir.Node) -> ir.Value | None:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is not None and shape.rank() == 2 and node.attributes.get_int("axis", 1) in (1, -1):
        return node.inputs[0]
    return _same_shape(node)


def _split(node: ir.Node) -> ir.Value | None:
    return node.inputs[0] if len(node.outputs) == 1 else None


def _gather(node: ir.Node) -> ir.Value | None:
    data, indices = node.inputs[0], constant_tensor(node.inputs[1])
    axis = node.attributes.get_int("axis", 0)
    if data is None or data.shape is None or indices is None or len(indices.shape) != 1:
        return None
    size = data.shape[axis]
    same = isinstance(size, int) and indices.numpy().tolist() == list(range(size))
    return data if same else None


def _reduce(node: ir.Node) -> ir.Value | None:
    data = node.inputs[0]
    return None if data is None or not data.shape else _same_shape(node)


def _pool(node: ir.Node) -> ir.Value | None:
    kernel, strides, pads = (
        node.attributes.get_ints(name, ()) for name in ("kernel_shape", "strides", "pads")
    )
    single = all(size == 1 for size in (*kernel, *strides))
    return node.inputs[0] if kernel and single and not any(pads) else None


def _twice(node: ir.Node) -> ir.Value | None:
    """An op that undoes itself."""
    inner = producer_of(node.inputs[0], node.op_type)
    return None if inner is None else inner.inputs[0]


def _again(node: ir.Node) -> ir.Value | None:
    """An op that changes nothing the second time."""
    return node.inputs[0] if producer_of(node.inputs[0], node.op_type) is not None else None


_NOT_NEGATIVE = ("Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt")


def _relu(node: ir.Node) -> ir.Value | None:
    if producer_of(node.inputs[0], *_NOT_NEGATIVE) is not None:
        return node.inputs[0]
    clip = producer_of(node.inputs[0], "Clip")
    low = None if clip is None else clip_bounds(clip)
    return node.inputs[0] if low is not None and low[0] is not None and low[0] >= 0 else None


def clip_bounds(node: ir.Node) -> tuple[float | None, float | None] | None:
    """Return lower and upper bound (None: unbounded) of a Clip, None where they are computed."""
    if "min" in node.attributes or "max" in node.attributes:
        return node.attributes.get_float("min"), node.attributes.get_float("max")
    found: list[float | None] = []
    for value in [*node.inputs[1:], None, None][:2]:
        array = None if value is None else constant_array(value)
        if value is not None and (array is None or array.size != 1):
            return None
        found.append(None if array is None else float(array.reshape(-1)[0]))
    return found[0], found[1]


def _clip(node: ir.Node) -> ir.Value | None:
    bounds = clip_bounds(node)
    if bounds is None:
        return None
    inner = producer_of(node.inputs[0], "Clip")
    within = None if inner is None else clip_bounds(inner)
    low, high = within or (None, None)
    below = bounds[0] is None or bounds[0] == -np.inf or (low is not None and low >= bounds[0])
    above = bounds[1] is None or bounds[1] == np.inf or (high is not None and high <= bounds[1])
    return node.inputs[0] if below and above else None


RULES: dict[str, Rule] = {
    "Abs": _again,
    "Add": _neutral(0, either_side=True),
    "And": _neutral(True, either_side=True),
    "AveragePool": _pool,
    "Cast": _cast,
    "Ceil": _again,
    "Clip": _clip,
    "Concat": _only_input,
    "Div": _neutral(1, either_side=False),
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _again,
    "Gather": _gather,
    "GlobalAveragePool": _same_shape,
    "GlobalMaxPool": _same_shape,
    "Identity": _first,
    "Max": _only_input,
    "MaxPool": _pool,
    "Mean": _only_input,
    "Min": _only_input,
    "Mul": _neutral(1, either_side=True),
    "Neg": _twice,
    "Not": _twice,
    "Or": _neutral(False, either_side=True),
    "Pad": _pad,
    "Pow": _neutral(1, either_side=False),
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceMin": _reduce,
    "ReduceProd": _reduce,
    "ReduceSum": _reduce,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Round": _again,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _neutral(0, either_side=False),
    "Sum": _only_input,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _squeeze,
    "Upsample": _resize,
}
"""Op type -> rule."""
