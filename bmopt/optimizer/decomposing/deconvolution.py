"""ConvTranspose as a convolution, whose outputs are laid side by side.

With stride ``s`` along an axis, the outputs ``q s + r`` of one phase ``r`` are a convolution of
the input with every ``s``-th weight, from ``r`` on: ``y[q s + r] = sum over j of w[j s + r]
x[q - j]``. All phases together are one convolution with ``s`` times the channels and a window of
``ceil(k / s)``, whose products are those of the ConvTranspose (the sub-pixel convolution of Shi et
al., 2016); what stands apart in its channels is then put in a row.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.optimizer.decomposing.emitter import Emitter, known, need
from bmopt.optimizer.sweeps import RefusedError


@dataclasses.dataclass(frozen=True)
class _Axis:
    """One spatial axis.

    Attributes:
        size: Of the input.
        kernel: Taps, those between dilated ones included.
        stride: Outputs for each input.
        before: What is cut off in front.
        length: Of the output.
    """

    size: int
    kernel: int
    stride: int
    before: int
    length: int

    @property
    def taps(self) -> int:
        """Return the taps of a phase."""
        return -(-self.kernel // self.stride)

    @property
    def first(self) -> int:
        """Return the first turn of the phases that is needed."""
        return min(self.before // self.stride, self.taps - 1)

    @property
    def turns(self) -> int:
        """Return how many turns are computed."""
        last = (self.before + self.length - 1) // self.stride
        least = self.size + self.pads[0] - self.taps + 1
        return max(last - self.first + 1, least)

    @property
    def pads(self) -> tuple[int, int]:
        """Return the zeros before and after the input."""
        front = self.taps - 1 - self.first
        last = (self.before + self.length - 1) // self.stride
        count = last - self.first + 1
        return front, max(0, count + self.taps - 1 - self.size - front)

    @property
    def start(self) -> int:
        """Return the first element of what is computed that is in the output."""
        return self.before - self.first * self.stride


def replace_deconvolution(emit: Emitter) -> bool:
    """Replace the emitter's ConvTranspose.

    Raises:
        RefusedError: Weights are computed, or sizes are unknown.
    """
    node = emit.node
    weight, bias = known(node, 1), known(node, 2)
    value = need(node, 0)
    shape = value.shape
    if weight is None or shape is None:
        raise RefusedError("has an input of unknown rank")
    sizes = list(shape)[2:]
    if not all(isinstance(size, int) for size in sizes):
        raise RefusedError("has an input of unknown size; fix it with --shapes")
    dilations = _numbers(node, "dilations", len(sizes), 1)
    axes = _axes(node, [int(size) for size in sizes if isinstance(size, int)], weight, dilations)
    groups = node.attributes.get_int("group", 1)
    made = emit.constant(_phases(_dilated(weight, dilations), axes, groups), "weight")
    copies = math.prod(axis.stride for axis in axes)
    added = None if bias is None else emit.constant(np.repeat(bias, copies), "bias")
    pads = [*(axis.pads[0] for axis in axes), *(axis.pads[1] for axis in axes)]
    outputs = weight.shape[1] * groups
    apart = emit.op("Conv", value, made, added, group=groups, pads=pads)
    return emit.finish([_cut(emit, _in_a_row(emit, apart, axes, outputs), axes)])


def _numbers(node: ir.Node, name: str, count: int, default: int) -> list[int]:
    return list(node.attributes.get_ints(name, ())) or [default] * count


def _axes(
    node: ir.Node, sizes: Sequence[int], weight: Array, dilations: Sequence[int]
) -> list[_Axis]:
    count = len(sizes)
    strides = _numbers(node, "strides", count, 1)
    more = _numbers(node, "output_padding", count, 0)
    kernels = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    fulls = [
        (size - 1) * stride + kernel + extra
        for size, stride, kernel, extra in zip(sizes, strides, kernels, more, strict=True)
    ]
    cuts = _cuts(node, sizes, strides, fulls)
    axes = []
    for place, (front, back) in enumerate(cuts):
        length = fulls[place] - front - back
        axes.append(_Axis(sizes[place], kernels[place], strides[place], front, length))
    if any(axis.length < 1 or axis.before < 0 for axis in axes):
        raise RefusedError("has padding that leaves nothing, or that adds")
    return axes


def _cuts(
    node: ir.Node, sizes: Sequence[int], strides: Sequence[int], fulls: Sequence[int]
) -> list[tuple[int, int]]:
    """Return what is cut off the full output in front and behind, axis by axis."""
    count, auto = len(sizes), node.attributes.get_string("auto_pad", "NOTSET")
    wanted = list(node.attributes.get_ints("output_shape", ()))[-count:]
    if not wanted and auto.startswith("SAME"):
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    if not wanted:
        pads = [0] * 2 * count if auto == "VALID" else _numbers(node, "pads", 2 * count, 0)
        return list(zip(pads[:count], pads[count:], strict=True))
    totals = [full - size for full, size in zip(fulls, wanted, strict=True)]
    if auto == "SAME_UPPER":
        return [(total // 2, total - total // 2) for total in totals]
    return [(total - total // 2, total // 2) for total in totals]


def _dilated(weight: Array, dilations: Sequence[int]) -> Array:
    if all(one == 1 for one in dilations):
        return weight
    shape = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    full = np.zeros((*weight.shape[:2], *shape), weight.dtype)
    full[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weight
    return full


def _phases(weight: Array, axes: Sequence[_Axis], groups: int) -> Array:
    """Return ``C O/g k...`` as the weight of the convolution, ``(O s...) C/g ceil(k/s)...``."""
    inputs, outputs = weight.shape[:2]
    room = [(0, axis.taps * axis.stride - axis.kernel) for axis in axes]
    full = np.pad(weight, [(0, 0), (0, 0), *room])
    split = [size for axis in axes for size in (axis.taps, axis.stride)]
    parts = full.reshape(groups, inputs // groups, outputs, *split)
    count = len(axes)
    taps = [3 + 2 * i for i in range(count)]
    strides = [4 + 2 * i for i in range(count)]
    parts = np.flip(parts.transpose(0, 2, *strides, 1, *taps), axis=tuple(range(-count, 0)))
    copies = math.prod(axis.stride for axis in axes)
    shape = (groups * outputs * copies, inputs // groups, *(axis.taps for axis in axes))
    return np.ascontiguousarray(parts.reshape(shape))


def _in_a_row(emit: Emitter, value: ir.Value, axes: Sequence[_Axis], outputs: int) -> ir.Value:
    if all(axis.stride == 1 for axis in axes):
        return value
    count = len(axes)
    strides, turns = [axis.stride for axis in axes], [axis.turns for axis in axes]
    parts = emit.op("Reshape", value, emit.axes(0, outputs, *strides, *turns))
    order = [place for i in range(count) for place in (2 + count + i, 2 + i)]
    turned = emit.op("Transpose", parts, perm=[0, 1, *order])
    rows = [axis.stride * axis.turns for axis in axes]
    return emit.op("Reshape", turned, emit.axes(0, outputs, *rows))


def _cut(emit: Emitter, value: ir.Value, axes: Sequence[_Axis]) -> ir.Value:
    for place, axis in enumerate(axes):
        if axis.start or axis.turns * axis.stride != axis.length:
            value = emit.slice(value, 2 + place, axis.start, axis.start + axis.length)
    return value
