"""How channels pass what works on every element by itself, and normalisation."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, is_constant, sizes_of
from bmopt.graph.channels.units import Ints

UNARY = (
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Not",
    "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Softplus",
    "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
)  # fmt: skip
BROADCAST = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
    "Mean", "Min", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where",
)  # fmt: skip


def unary(flow: Flow, node: ir.Node) -> None:
    """Ops whose further inputs and outputs have one element, or the first one's shape."""
    for output in node.outputs:
        flow.write(output, flow.labels(node.inputs[0]))


def broadcast(flow: Flow, node: ir.Node) -> None:
    """Ops that stretch axes of size one."""
    inputs = [value for value in node.inputs if value is not None]
    rank = max(len(sizes_of(value)) for value in inputs)
    if len(flow.labels(node.outputs[0])) != rank:
        flow.keep_inputs(node, f"the shape of {node.outputs[0].name!r} is not known")
        return
    labels = [_along(flow, node, axis - rank) for axis in range(rank)]
    flow.account(node, *range(len(node.inputs)))
    flow.write(node.outputs[0], labels)


def _along(flow: Flow, node: ir.Node, axis: int) -> Ints | None:
    """Join the channels that an output has along ``axis``, counted from behind."""
    found: Ints | None = None
    others: list[int] = []
    foreign = False
    for index, value in enumerate(node.inputs):
        sizes = sizes_of(value)
        if value is None or len(sizes) < -axis or sizes[axis] == 1:
            continue
        if is_constant(value):
            others.append(index)
            continue
        units = flow.at(value, axis)
        if units is None or (found is not None and len(found) != len(units)):
            foreign = True
        elif found is not None:
            flow.units.join(found, units)
        found = units if found is None else found
    if found is None:
        return None
    if foreign or any(sizes_of(node.inputs[i])[axis] != len(found) for i in others):
        flow.keep(found, f"{node.name!r} combines it with channels that stay")
        for value in node.inputs:
            flow.keep(flow.at(value, axis) if value is not None else None, "see there")
        return None
    for index in others:
        whole = len(sizes_of(node.inputs[index])) + axis
        flow.constant(node, index, whole, found, "follows")
    return found


def instance_norm(flow: Flow, node: ir.Node) -> None:
    """InstanceNormalization: a number for every channel; what it normalises over stays."""
    for units in flow.labels(node.inputs[0])[2:]:
        flow.keep(units, f"{node.op_type} {node.name!r} is over it")
    batch_norm(flow, node)


def group_norm(flow: Flow, node: ir.Node) -> None:
    """GroupNormalization, as from opset 21 on: a group goes whole."""
    units, count = flow.at(node.inputs[0], 1), int(node.attributes["num_groups"].as_int())
    instance_norm(flow, node)
    if units is None or not all(map(is_constant, node.inputs[1:])):
        return
    rows = units.reshape(count, -1)
    flow.units.join_all(rows.T)
    flow.fixes.append(lambda kept: node.attributes.add(
        ir.AttrInt64("num_groups", int(kept(rows[:, 0]).sum()))
    ))  # fmt: skip


def lp_norm(flow: Flow, node: ir.Node) -> None:
    """LpNormalization: what it normalises over stays."""
    over_axes(flow, node, (int(node.attributes.get_int("axis", -1)),))


def batch_norm(flow: Flow, node: ir.Node) -> None:
    """BatchNormalization: a number for every channel."""
    units = flow.at(node.inputs[0], 1)
    constants = range(1, len(node.inputs))
    if not all(is_constant(node.inputs[index]) for index in constants):
        flow.keep_inputs(node, f"the numbers of {node.name!r} are no constants")
        return
    for index in constants:
        if units is not None:
            flow.constant(node, index, 0, units, "follows")
    flow.account(node, *constants)
    flow.write(node.outputs[0], flow.labels(node.inputs[0]))


def layer_norm(flow: Flow, node: ir.Node) -> None:
    """LayerNormalization and RMSNormalization: what is normalised over stays."""
    first = int(node.attributes.get_int("axis", -1))
    over_tail(flow, node, first)


def softmax(flow: Flow, node: ir.Node) -> None:
    """Softmax and its kin: what the sum is over stays; before opset 13 all behind it too."""
    axis = node.attributes.get_int("axis", None)
    version = node.version or 13
    if version < 13:
        over_tail(flow, node, 1 if axis is None else int(axis))
        return
    over_axes(flow, node, (-1 if axis is None else int(axis),))


def over_tail(flow: Flow, node: ir.Node, first: int) -> None:
    """What lies along ``first`` and all axes behind it stays; the others pass."""
    rank = len(flow.labels(node.inputs[0]))
    over_axes(flow, node, tuple(range(first % rank if rank else 0, rank)))


def over_axes(flow: Flow, node: ir.Node, axes: tuple[int, ...]) -> None:
    """What lies along ``axes`` stays; the others pass, as does the shape."""
    labels = list(flow.labels(node.inputs[0]))
    for axis in axes:
        flow.keep(flow.at(node.inputs[0], axis), f"{node.op_type} {node.name!r} is over it")
        if labels:
            labels[axis] = None
    flow.write(node.outputs[0], labels)


def all_but_first(flow: Flow, node: ir.Node) -> None:
    """Ops that let pass what lies along the first two axes: pools, which move a window."""
    labels = flow.labels(node.inputs[0])
    for units in labels[2:]:
        flow.keep(units, f"{node.name!r} has its window over it")
    for output in node.outputs:
        flow.write(output, (*labels[:2], *(None,) * len(labels[2:])))


def reduction(flow: Flow, node: ir.Node) -> None:
    """Reductions: what they are over stays."""
    labels = list(flow.labels(node.inputs[0]))
    axes = _axes_of(node)
    if axes is None:
        flow.keep_inputs(node, f"the axes of {node.name!r} are no constant")
        return
    whole = {axis % len(labels) for axis in axes} if labels else set()
    if not axes and not node.attributes.get_int("noop_with_empty_axes", 0):
        whole = set(range(len(labels)))
    for axis in whole:
        flow.keep(labels[axis], f"{node.op_type} {node.name!r} is over it")
        labels[axis] = None
    if not node.attributes.get_int("keepdims", 1):
        labels = [units for axis, units in enumerate(labels) if axis not in whole]
    flow.write(node.outputs[0], labels)


def arg_reduction(flow: Flow, node: ir.Node) -> None:
    """ArgMax and ArgMin: the channel's number is the answer, so that all stay along the axis."""
    labels = list(flow.labels(node.inputs[0]))
    axis = int(node.attributes.get_int("axis", 0))
    flow.keep(flow.at(node.inputs[0], axis), f"{node.op_type} {node.name!r} is over it")
    if labels:
        labels[axis] = None
    if labels and not node.attributes.get_int("keepdims", 1):
        del labels[axis]
    flow.write(node.outputs[0], labels)


def _axes_of(node: ir.Node) -> list[int] | None:
    from bmopt.graph.values import constant_array

    if "axes" in node.attributes:
        return [int(one) for one in node.attributes["axes"].as_ints()]
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return []
    axes = constant_array(node.inputs[1])
    return None if axes is None else [int(one) for one in axes.reshape(-1)]


def recurrent(flow: Flow, node: ir.Node) -> None:
    """LSTM, GRU and RNN: what they read may have fewer features; their own state stays."""
    read = flow.at(node.inputs[0], 2)
    if read is not None and is_constant(node.inputs[1]):
        flow.constant(node, 1, 2, read, "reads")
        flow.account(node, 1)
    else:
        flow.keep(read, f"the weight of {node.name!r} is no constant")
    for index, value in enumerate(node.inputs):
        for axis, units in enumerate(flow.labels(value)):
            if (index, axis) != (0, 2):
                flow.keep(units, f"{node.name!r} keeps its state over it")
