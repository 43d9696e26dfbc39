"""A model's image input, and nodes that are put between it and what reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.optimizer.rewrite import add_constant, fresh_name, opset
from bmopt.optimizer.sweeps import RefusedError

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)
_IMAGE_CHANNELS = (1, 3)

Axis = int | ir.SymbolicDim


@dataclasses.dataclass(frozen=True)
class PixelInput:
    """An input of pictures.

    Attributes:
        value: The input.
        dtype: Its element type.
        axes: Sizes of samples, height, width and channels; the last is 1 or 3.
        has_channels: Whether the input has an axis of channels.
    """

    value: ir.Value
    dtype: ir.DataType
    axes: tuple[Axis, Axis, Axis, int]
    has_channels: bool


def pixel_input(
    model: ir.Model, layout: Literal["NCHW", "NHWC"], size: Sequence[int]
) -> PixelInput:
    """Return the only input of ``model``; ``size`` is height and width, or empty.

    Raises:
        RefusedError: There are several, or it is no picture of floats of that size.
    """
    fed = [value for value in model.graph.inputs if not value.is_initializer()]
    if len(fed) != 1:
        raise RefusedError(f"has {len(fed)} inputs; only one can be a picture")
    (value,) = fed
    if value.dtype not in _FLOATS:
        kind = "no tensor" if value.dtype is None else value.dtype.name
        raise RefusedError(f"has an input {value.name!r} that is {kind}, not floats")
    if value.is_graph_output() or not value.uses():
        raise RefusedError(f"has an input {value.name!r} that no node reads alone")
    shape = () if value.shape is None else tuple(value.shape)
    if len(shape) not in (3, 4):
        raise RefusedError(f"has an input {value.name!r} with {len(shape)} axes, no picture")
    channels = 1 if len(shape) == 3 else shape[1 if layout == "NCHW" else 3]
    if not isinstance(channels, int) or channels not in _IMAGE_CHANNELS:
        raise RefusedError(f"has an input {value.name!r} with {channels} channels, not 1 or 3")
    first = 2 if layout == "NCHW" and len(shape) == 4 else 1
    height, width = _sized(shape[first : first + 2], size)
    return PixelInput(value, value.dtype, (shape[0], height, width, channels), len(shape) == 4)


def _sized(have: Sequence[Axis], size: Sequence[int]) -> tuple[Axis, Axis]:
    if len(size) not in (0, 2) or any(side < 1 for side in size):
        raise RefusedError(f"takes a height and a width, not {list(size)}")
    for axis, wanted in zip(have, size, strict=False):
        if isinstance(axis, int) and axis != wanted:
            raise RefusedError(
                f"takes pictures of {have[0]}x{have[1]} pixels, not {size[0]}x{size[1]}"
            )
    return (size[0], size[1]) if size else (have[0], have[1])


class Prologue:
    """Nodes at the start of a model's graph, each reading the one before."""

    def __init__(self, model: ir.Model, source: PixelInput) -> None:
        self._graph = model.graph
        self._opset = opset(model)
        self._source = source
        self._uses = list(source.value.uses())
        self._first = model.graph[0]
        self._axes: tuple[Axis, ...] = source.axes
        self._last = source.value
        self._dtype = source.dtype

    def cast(self, dtype: ir.DataType) -> None:
        """Change the element type."""
        self._dtype = dtype
        self._append("Cast", [], "cast", to=int(dtype))

    def arithmetic(self, op_type: str, stem: str, numbers: Sequence[float]) -> None:
        """Compute with one float32 number, or one for each of the last axis."""
        array = np.array(numbers[0] if len(numbers) == 1 else numbers, np.float32)
        self._append(op_type, [add_constant(self._graph, self._named(stem), array)], stem)

    def reverse_channels(self) -> None:
        """Turn the last axis around."""
        order = np.arange(self._source.axes[-1], dtype=np.int64)[::-1]
        index = add_constant(self._graph, self._named("order"), order)
        self._append("Gather", [index], "channels", axis=len(self._axes) - 1)

    def lay_out(self, layout: Literal["NCHW", "NHWC"]) -> None:
        """Bring samples, height, width, channels into the order of the model's input."""
        samples, height, width, channels = self._source.axes
        if not self._source.has_channels:
            self._axes = (samples, height, width)
            self._squeeze()
        elif layout == "NCHW":
            self._axes = (samples, channels, height, width)
            self._append("Transpose", [], "layout", perm=[0, 3, 1, 2])

    def finish(self) -> None:
        """Let what read the input read the last node, and the input take pixels."""
        value = self._source.value
        for node, index in self._uses:
            node.replace_input_with(index, self._last)
        value.type = ir.TensorType(ir.DataType.UINT8)
        value.shape = ir.Shape(self._source.axes)

    def _squeeze(self) -> None:
        if self._opset < 13:
            self._append("Squeeze", [], "layout", axes=[3])
            return
        axes = add_constant(self._graph, self._named("axes"), np.array([3], np.int64))
        self._append("Squeeze", [axes], "layout")

    def _named(self, stem: str) -> str:
        return f"{self._source.value.name}_{stem}"

    def _append(
        self,
        op_type: str,
        others: Sequence[ir.Value],
        stem: str,
        **attributes: Any,  # noqa: ANN401 - whatever ONNX's operator takes
    ) -> None:
        name = fresh_name(self._graph, self._named(stem))
        node = ir.node(op_type, [self._last, *others], attributes=attributes, name=name)
        (out,) = node.outputs
        out.name = fresh_name(self._graph, f"{name}_out")
        out.type, out.shape = ir.TensorType(self._dtype), ir.Shape(self._axes)
        merge_origin(node, [use.node for use in self._uses])
        self._graph.insert_before(self._first, node)
        self._last = out
