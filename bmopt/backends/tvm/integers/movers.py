"""Nodes that move quantised values: pooling by maximum, slices, padding, other shapes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.backends.tvm.integers.borders import Layout
from bmopt.backends.tvm.integers.kernel import Kernel
from bmopt.backends.tvm.integers.machine import BLOCK, Machine
from bmopt.backends.tvm.integers.placing import Part, Placing
from bmopt.backends.tvm.integers.pooling import MaxPool
from bmopt.backends.tvm.integers.products import window_of
from bmopt.backends.tvm.integers.reading import Stored, dims_of
from bmopt.backends.tvm.integers.window import stored_channels
from bmopt.graph.values import constant_array

_SHAPES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
Found = tuple[Kernel | None, Layout]


def mover_kernel(node: ir.Node, source: Stored, machine: Machine) -> Found | None:
    """Return the kernel of a node that moves stored values, no kernel where nothing moves.

    None where it has to be done on a plain tensor.
    """
    if node.op_type in _SHAPES:
        return _reshaped(node, source)
    if node.op_type == "MaxPool" and len(node.outputs) == 1:
        return _max(node, source, machine)
    if len(source.layout.dims) != 3:
        return None
    if node.op_type == "Slice":
        return _slice(node, source, machine)
    return _pad(node, source, machine) if node.op_type == "Pad" else None


def _reshaped(node: ir.Node, source: Stored) -> Found | None:
    dims = dims_of(node.outputs[0])
    if dims is None:
        return None
    after = Layout(dims, source.layout.channels)
    same = (after.pixels, after.depth) == (source.layout.pixels, source.layout.depth)
    if not same or (source.layout.pixels > 1 and len(dims) != len(source.layout.dims)):
        return None
    return None, after


def _max(node: ir.Node, source: Stored, machine: Machine) -> Found | None:
    window = window_of(node, source, tuple(node.attributes.get_ints("kernel_shape", [])))
    if window is None or node.attributes.get_int("storage_order", 0) != 0:
        return None
    layout = Layout((source.layout.depth, *window.out), source.layout.channels)
    return _kernel(MaxPool(window, layout.channels), layout, machine.stored), layout


def _kernel(spec: MaxPool | Placing, layout: Layout, dtype: str) -> Kernel:
    return Kernel(spec, (), layout.size, dtype)


def _slice(node: ir.Node, source: Stored, machine: Machine) -> Found | None:
    given = [constant_array(v) for v in node.inputs[1:]]
    if any(g is None for g in given) or len(given) < 2:
        return None
    starts, ends = (list(map(int, g.reshape(-1))) for g in given[:2] if g is not None)
    axes = range(len(starts)) if len(given) < 3 or given[2] is None else given[2].reshape(-1)
    steps = [1] * len(starts) if len(given) < 4 or given[3] is None else given[3].reshape(-1)
    dims = list(source.layout.dims)
    taken = {axis: range(dims[axis - 1]) for axis in (1, 2, 3)}
    for start, end, axis, step in zip(starts, ends, map(int, axes), map(int, steps), strict=True):
        axis %= 4
        if axis == 0 or step < 1 or (axis == 1 and step != 1):
            return None
        taken[axis] = taken[axis][start:end:step]
    if not all(taken.values()):
        return None
    order = [taken[2], taken[3], taken[1]]
    part = Part(
        (*source.size, source.layout.channels),
        _three([r.start for r in order]),
        _three([r.step for r in order]),
        _three([len(r) for r in order]),
        (0, 0, 0),
    )
    return _placed(part, (len(taken[1]), len(taken[2]), len(taken[3])), source, machine)


def _pad(node: ir.Node, source: Stored, machine: Machine) -> Found | None:
    pads = constant_array(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    fill = constant_array(given) if given is not None else np.zeros(1)
    has_axes = len(node.inputs) > 3 and node.inputs[3] is not None
    if pads is None or fill is None or has_axes or pads.size != 8:
        return None
    if node.attributes.get_string("mode", "constant") != "constant" or np.any(pads < 0):
        return None
    if int(fill.reshape(-1)[0]) != source.encoding.zero or pads[0] or pads[4]:
        return None
    before, after = [int(p) for p in pads[1:4]], [int(p) for p in pads[5:8]]
    dims = source.layout.dims
    size = [before[i] + dims[i] + after[i] for i in range(3)]
    part = Part(
        (*source.size, source.layout.channels),
        (0, 0, 0),
        (1, 1, 1),
        (dims[1], dims[2], dims[0]),
        (before[1], before[2], before[0]),
    )
    return _placed(part, (size[0], size[1], size[2]), source, machine)


def _placed(part: Part, dims: tuple[int, int, int], source: Stored, machine: Machine) -> Found:
    layout = Layout(dims, max(stored_channels(dims[0]), BLOCK))
    output = source.encoding.output(machine)
    spec = Placing((part,), (dims[1], dims[2], layout.channels), output)
    return _kernel(spec, layout, machine.stored), layout


def _three(values: list[int]) -> tuple[int, int, int]:
    return values[0], values[1], values[2]
