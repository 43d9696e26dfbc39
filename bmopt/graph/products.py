"""Convolutions and matrix products by a constant weight: where their parts are."""

from __future__ import annotations

import dataclasses
import math

import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array, constant_tensor, only_consumer

PRODUCT_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class Product:
    """A node that multiplies an activation by a constant weight and may add a constant bias.

    Attributes:
        node: The node.
        shape: Shape of the weight.
        axis: Axis of the weight along which output channels lie; ConvTranspose with groups has
            them split between its first two axes and reports axis 1.
        bias: Index of the bias among the inputs, None where there is none.
    """

    node: ir.Node
    shape: tuple[int, ...]
    axis: int
    bias: int | None

    @property
    def groups(self) -> int:
        """Number of groups of a convolution, else 1."""
        return int(self.node.attributes.get_int("group", 1))

    @property
    def channels(self) -> int:
        """Number of output channels that share the weight's channel axis."""
        return self.shape[self.axis]

    @property
    def is_depthwise(self) -> bool:
        """Whether every group reads one channel."""
        return self.node.op_type == "Conv" and self.groups > 1 and self.shape[1] == 1

    def weight(self) -> Array:
        """Return the weight."""
        array = constant_array(self.node.inputs[1])
        assert array is not None
        return array


def product_of(node: ir.Node) -> Product | None:
    """Return ``node`` as a product by a constant weight (its second input), or None."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in PRODUCT_OPS:
        return None
    tensor = constant_tensor(node.inputs[1])
    if tensor is None:
        return None
    return product_by(node, tuple(int(d) for d in tensor.shape.numpy()))


def product_by(node: ir.Node, shape: tuple[int, ...]) -> Product:
    """Return one of ``PRODUCT_OPS`` as a product by a weight of a shape, wherever that is."""
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    return Product(node, shape, _channel_axis(node, len(shape)), 2 if has_bias else None)


def _channel_axis(node: ir.Node, rank: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else rank - 1


def multiply_adds(product: Product) -> int | None:
    """Return multiply-adds of one inference of one sample; None where shapes are unknown."""
    if product.node.op_type in ("Gemm", "MatMul"):
        return _matrix_multiply_adds(product)
    shape = product.node.outputs[0].shape
    if shape is None:
        return None
    spatial = [d for d in list(shape)[2:] if isinstance(d, int)]
    if len(spatial) != len(shape) - 2:
        return None
    return math.prod(product.shape) * math.prod(spatial)


def _matrix_multiply_adds(product: Product) -> int | None:
    shape = product.node.outputs[0].shape
    rows = 1
    for size in [] if shape is None else list(shape)[1:-1]:
        if not isinstance(size, int):
            return None
        rows *= size
    return math.prod(product.shape) * rows


def rows_of(product: Product) -> int | None:
    """Return how many rows a matrix product's data has in all; None where that is not known."""
    shape = product.node.outputs[0].shape
    if shape is None:
        return None
    sizes = [size for size in list(shape)[:-1] if isinstance(size, int)]
    return math.prod(sizes) if len(sizes) == len(shape) - 1 else None


def clip_after(node: ir.Node) -> ir.Node | None:
    """Return the Relu or constant Clip that alone reads the node's output, if there is one."""
    reader = only_consumer(node.outputs[0])
    if reader is None or reader.domain not in ("", "ai.onnx"):
        return None
    if reader.graph is not node.graph or reader.inputs[0] is not node.outputs[0]:
        return None
    return reader if clip_bounds(reader) is not None else None


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """Return the interval a Relu or constant Clip clips to; None for any other node."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return None
    if node.attributes.get("min") or node.attributes.get("max"):
        low = node.attributes.get_float("min", -math.inf)
        return float(low), float(node.attributes.get_float("max", math.inf))
    bounds = [-math.inf, math.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        array = constant_array(value)
        if array is None or array.size != 1:
            return None
        bounds[index] = float(array.reshape(-1)[0])
    return bounds[0], bounds[1]


def rank_of(value: ir.Value | None) -> int | None:
    """Return the rank of a value, None where it is unknown."""
    return None if value is None or value.shape is None else len(value.shape)
