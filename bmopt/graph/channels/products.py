"""How convolutions and matrix products make and read channels."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, is_constant, sizes_of
from bmopt.graph.channels.units import Ints


def conv(flow: Flow, node: ir.Node) -> None:
    """Conv: weight ``[out, in / groups, ...]``."""
    if not _has_constants(node):
        flow.keep_inputs(node, f"the weight of {node.name!r} is no constant")
        return
    groups = int(node.attributes.get_int("group", 1))
    out, inner = sizes_of(node.inputs[1])[:2]
    assert out is not None
    assert inner is not None
    read, made = flow.at(node.inputs[0], 1), flow.make(node, out)
    flow.constant(node, 1, 0, made, "writes")
    if groups == 1:
        _read(flow, node, 1, read)
    elif inner == 1:
        _depthwise(flow, node, read, made, groups)
    else:
        flow.units.join_all(made.reshape(groups, -1))
        if read is not None:
            flow.units.join_all(read.reshape(groups, -1))
            flow.constant(node, 1, 1, read[:inner], "reads")
    _end(flow, node, made)


def conv_transpose(flow: Flow, node: ir.Node) -> None:
    """ConvTranspose: weight ``[in, out / groups, ...]``."""
    if not _has_constants(node):
        flow.keep_inputs(node, f"the weight of {node.name!r} is no constant")
        return
    groups = int(node.attributes.get_int("group", 1))
    inner, out = sizes_of(node.inputs[1])[:2]
    assert inner is not None
    assert out is not None
    read, made = flow.at(node.inputs[0], 1), flow.make(node, out * groups)
    if groups == inner:
        _depthwise(flow, node, read, made, groups)
        if read is not None:
            flow.constant(node, 1, 0, read, "reads")
    else:
        flow.units.join_all(made.reshape(groups, -1))
        flow.constant(node, 1, 1, made[:out], "writes")
        if read is not None and groups > 1:
            flow.units.join_all(read.reshape(groups, -1))
        _read(flow, node, 0, read)
    if groups == inner and out > 1:
        # Each group's outputs go with its input; their number in a group stays.
        flow.units.keep(made, f"{node.name!r} makes several channels of each that it reads")
    _end(flow, node, made)


def _depthwise(flow: Flow, node: ir.Node, read: Ints | None, made: Ints, groups: int) -> None:
    """Every input channel has outputs of its own, which go with it."""
    of_group = made.reshape(groups, -1)
    flow.units.join_all(of_group.T)
    if read is None:
        flow.keep(made, f"{node.name!r} has a channel for each of its input's, which stay")
        return
    flow.units.join(of_group[:, 0], read)
    flow.fixes.append(
        lambda kept: node.attributes.add(ir.AttrInt64("group", int(kept(read).sum())))
    )


def _read(flow: Flow, node: ir.Node, axis: int, units: Ints | None) -> None:
    """The weight sums over channels along ``axis``."""
    if units is not None:
        flow.constant(node, 1, axis, units, "reads")


def _end(flow: Flow, node: ir.Node, made: Ints) -> None:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        flow.constant(node, 2, 0, made, "follows")
    labels = flow.labels(node.inputs[0])
    for units in labels[2:]:
        flow.keep(units, f"{node.name!r} has its window over it")
    flow.account(node, 1, 2)
    flow.write(node.outputs[0], (labels[0], made, *(None,) * len(labels[2:])) if labels else ())


def _has_constants(node: ir.Node) -> bool:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return is_constant(node.inputs[1]) and (bias is None or is_constant(bias))


def gemm(flow: Flow, node: ir.Node) -> None:
    """Gemm by a constant: ``[rows, in] x [in, out]``, either transposed."""
    if not _has_constants(node):
        flow.keep_inputs(node, f"the weight of {node.name!r} is no constant")
        return
    across, turned = (bool(node.attributes.get_int(k, 0)) for k in ("transA", "transB"))
    labels = flow.labels(node.inputs[0])
    rows, read = (None, None) if len(labels) != 2 else (labels[::-1] if across else labels)
    count = sizes_of(node.inputs[1])[0 if turned else 1]
    assert count is not None
    made = flow.make(node, count)
    flow.constant(node, 1, 0 if turned else 1, made, "writes")
    _read(flow, node, 1 if turned else 0, read)
    bias = sizes_of(node.inputs[2]) if len(node.inputs) > 2 else ()
    if bias and bias[-1] == count and count > 1:
        flow.constant(node, 2, len(bias) - 1, made, "follows")
    if len(bias) == 2 and bias[0] != 1:
        flow.keep(rows, f"the bias of {node.name!r} differs from row to row")
        rows = None
    flow.account(node, 1, 2)
    flow.write(node.outputs[0], (rows, made))


def matmul(flow: Flow, node: ir.Node) -> None:
    """MatMul: of activations by a constant on either side, or of two activations."""
    left, right = node.inputs
    if is_constant(right) and not is_constant(left):
        _by_constant(flow, node, 0, 1)
    elif is_constant(left) and not is_constant(right):
        _by_constant(flow, node, 1, 0)
    else:
        _of_activations(flow, node)


def _by_constant(flow: Flow, node: ir.Node, data: int, weight: int) -> None:
    labels, sizes = flow.labels(node.inputs[data]), sizes_of(node.inputs[weight])
    if len(labels) < 2 or len(sizes) != 2:
        flow.keep_inputs(node, f"{node.name!r} multiplies by something other than a matrix")
        return
    # [.., rows, in] x [in, out], or [out, in] x [.., in, columns].
    inner, outer = (0, 1) if weight == 1 else (1, 0)
    count = sizes[outer]
    assert count is not None
    made = flow.make(node, count)
    flow.constant(node, weight, outer, made, "writes")
    read = labels[-1] if weight == 1 else labels[-2]
    if read is not None:
        flow.constant(node, weight, inner, read, "reads")
    flow.account(node, weight)
    rest = labels[-2] if weight == 1 else labels[-1]
    last = (rest, made) if weight == 1 else (made, rest)
    flow.write(node.outputs[0], (*labels[:-2], *last))


def _of_activations(flow: Flow, node: ir.Node) -> None:
    """Heads of attention pass; what is summed over stays, as no weight reads it."""
    left, right = (flow.labels(value) for value in node.inputs)
    if len(left) != len(right) or len(left) < 2:
        flow.keep_inputs(node)
        return
    for units in (left[-1], right[-2]):
        flow.keep(units, f"{node.name!r} multiplies two activations along it")
    batch: list[Ints | None] = []
    for one, other in zip(left[:-2], right[:-2], strict=True):
        if one is not None and other is not None and len(one) == len(other):
            flow.units.join(one, other)
            batch.append(one)
            continue
        for units in (one, other):
            flow.keep(units, f"{node.name!r} multiplies it with something that stays")
        batch.append(None)
    flow.write(node.outputs[0], (*batch, left[-2], right[-1]))
