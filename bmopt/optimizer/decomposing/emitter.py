"""Writes nodes in front of another one, in the form that the model's opset has for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array
from bmopt.optimizer.rewrite import (
    add_constant,
    can_bypass,
    new_node,
    opset,
    remove_dead,
    replace_output,
    root_graph,
)
from bmopt.optimizer.sweeps import RefusedError

_SLICE_BY_INPUTS = 10
_AXES_BY_INPUT = 13
_MEAN_AXES_BY_INPUT = 18


class Emitter:
    """Writes what stands for one node.

    Values that are constant are computed at once, so that what is written for weights is weights.
    """

    def __init__(self, node: ir.Node, version: int) -> None:
        self.node = node
        self.version = version

    @classmethod
    def of(cls, model: ir.Model, node: ir.Node) -> Emitter:
        """Return what writes for ``node`` of ``model``."""
        return cls(node, opset(model))

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:  # noqa: ANN401 - values of attributes
        """Write a node of the standard domain with one output, and return that."""
        return new_node(op_type, inputs, like=self.node, attributes=attributes).outputs[0]

    def constant(self, array: Array, name: str = "constant") -> ir.Value:
        """Return a constant."""
        return add_constant(root_graph(self.node), f"{self.node.name}_{name}", array)

    def number(self, value: float, like: ir.Value | None) -> ir.Value:
        """Return a constant scalar of the element type of ``like``, float32 where unknown."""
        return self.constant(np.asarray(value, numpy_type(like)), "number")

    def axes(self, *values: int) -> ir.Value:
        """Return a constant vector of int64."""
        return self.constant(np.asarray(values, np.int64), "axes")

    def slice(self, value: ir.Value, axis: int, start: int, stop: int) -> ir.Value:
        """Return ``value[start:stop]`` along ``axis``."""
        array = constant_array(value)
        if array is not None:
            return self.constant(array.take(range(start, stop), axis), "part")
        if self.version < _SLICE_BY_INPUTS:
            return self.op("Slice", value, axes=[axis], starts=[start], ends=[stop])
        return self.op("Slice", value, self.axes(start), self.axes(stop), self.axes(axis))

    def pick(self, value: ir.Value, axis: int, index: int) -> ir.Value:
        """Return ``value[index]`` along ``axis``, which is gone then."""
        array = constant_array(value)
        if array is not None:
            return self.constant(array.take(index, axis), "part")
        shape = value.shape
        one = shape is not None and axis < len(shape) and shape[axis] == 1
        part = value if one and index == 0 else self.slice(value, axis, index, index + 1)
        return self.squeeze(part, axis)

    def squeeze(self, value: ir.Value, *axes: int) -> ir.Value:
        """Return ``value`` without axes of one element."""
        if self.version < _AXES_BY_INPUT:
            return self.op("Squeeze", value, axes=list(axes))
        return self.op("Squeeze", value, self.axes(*axes))

    def unsqueeze(self, value: ir.Value, *axes: int) -> ir.Value:
        """Return ``value`` with new axes of one element."""
        if self.version < _AXES_BY_INPUT:
            return self.op("Unsqueeze", value, axes=list(axes))
        return self.op("Unsqueeze", value, self.axes(*axes))

    def means(self, value: ir.Value, axes: Sequence[int]) -> ir.Value:
        """Return the mean along axes, which are kept."""
        if self.version < _MEAN_AXES_BY_INPUT:
            return self.op("ReduceMean", value, axes=list(axes), keepdims=1)
        return self.op("ReduceMean", value, self.axes(*axes), keepdims=1)

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Return values one after the other."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def stack(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Return values one after the other along a new axis."""
        return self.concat([self.unsqueeze(one, axis) for one in values], axis)

    def transpose(self, value: ir.Value, perm: Sequence[int]) -> ir.Value:
        """Return ``value`` with its axes in another order."""
        array = constant_array(value)
        if array is not None:
            return self.constant(np.ascontiguousarray(array.transpose(perm)), "transposed")
        return self.op("Transpose", value, perm=list(perm))

    def sum(self, *values: ir.Value | None) -> ir.Value:
        """Return the sum of those values that are there, of which one has to be."""
        there = [one for one in values if one is not None]
        total = there[0]
        for one in there[1:]:
            total = self.op("Add", total, one)
        return total

    def finish(self, outputs: Iterable[ir.Value | None]) -> bool:
        """Let the readers of the node's outputs read these instead, and drop the node.

        Returns:
            True, for a rule to return.
        """
        for old, new in zip(self.node.outputs, outputs, strict=False):
            if not old.uses() and not old.is_graph_output():
                continue
            assert new is not None, "refuse before writing"
            replace_output(old, new if can_bypass(old, new) else self.op("Identity", new))
        remove_dead([self.node])
        return True


def numpy_type(value: ir.Value | None) -> np.dtype[Any]:
    """Return the NumPy type of a value's elements, float32 where it is not known."""
    dtype = None if value is None else value.dtype
    return np.dtype(np.float32) if dtype is None else dtype.numpy()


def is_used(node: ir.Node, index: int) -> bool:
    """Whether anybody reads an output, which may be left out."""
    if index >= len(node.outputs):
        return False
    value = node.outputs[index]
    return bool(value.name) and (bool(value.uses()) or value.is_graph_output())


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input that may be left out."""
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or not value.name else value


def need(node: ir.Node, index: int) -> ir.Value:
    """Return an input that may not be left out.

    Raises:
        RefusedError: It is.
    """
    value = input_at(node, index)
    if value is None:
        raise RefusedError(f"lacks its input {index}")
    return value


def known(node: ir.Node, index: int) -> Array | None:
    """Return a constant input, None where it is left out.

    Raises:
        RefusedError: It is there, and not constant.
    """
    value = input_at(node, index)
    if value is None:
        return None
    array = constant_array(value)
    if array is None:
        raise RefusedError(f"reads {value.name!r}, which is not constant")
    return array


def refuse_attributes(node: ir.Node, **taken: object) -> None:
    """Refuse a node with an attribute of another value than the one given here.

    Raises:
        RefusedError: There is one.
    """
    for name, value in taken.items():
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.value != value:
            raise RefusedError(f"has {name} = {attribute.value}")
