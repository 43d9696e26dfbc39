"""Which float32 inputs and outputs of a node may become half precision, by ONNX's own schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import onnx
import onnx_ir as ir

from bmopt.core.cast_plan import HalfType
from bmopt.graph.concrete_values import concrete_values
from bmopt.graph.half_format import HalfFormat
from bmopt.graph.macs import Shape
from bmopt.graph.values import constant_tensor, is_op

MAX_OPSET = 23
"""A model is raised no further than this for the sake of an op's half-precision variant."""

_NAMES = {ir.DataType.FLOAT16: "tensor(float16)", ir.DataType.BFLOAT16: "tensor(bfloat16)"}
Side = Literal["inputs", "outputs"]
_PortKey = tuple[str, Side, int]

_ANY_TYPE = {"Cast": (0,), "CastLike": (0,), "Shape": (0,), "Size": (0,)}
"""Inputs read in whatever type they come."""

_PARAMETERS = {"BatchNormalization": (1, 2, 3, 4), "Dropout": (1,), "Resize": (1, 2)}
"""Inputs that say how, not what: they stay float32 where the op lets them differ in type."""

_FIXED = frozenset(
    {
        *("Bernoulli", "Multinomial"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("BlackmanWindow", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix"),
    }
)
"""Ops whose element type is an attribute: they draw numbers or make tables."""

_ILL_TYPED = frozenset({"MeanVarianceNormalization"})
"""Ops whose definition as an ONNX function holds in float32 only, whatever their schema says."""


@dataclasses.dataclass(frozen=True)
class Ports:
    """The float32 tensors at a node.

    Attributes:
        inputs: Indices of the inputs that become half precision with the node.
        outputs: Indices of the outputs that do.
        float_inputs: Indices of inputs that stay float32 all the same.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    float_inputs: tuple[int, ...] = ()


class HalfPorts:
    """Answers for the nodes of one model, as it is when this is made.

    Raises:
        ModelError: ONNX's shape inference fails on the model.
    """

    def __init__(self, model: ir.Model, dtype: HalfType) -> None:
        self.half = HalfFormat.of(dtype)
        self._known = concrete_values(model)
        self._opset = int(model.opset_imports.get("", 1))
        self._lowest: dict[_PortKey | None, int | None] = {}

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """Return the element type of a tensor, None where it is no tensor or not known."""
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.dtype
        known = self._known.get(value.name or "")
        if known is not None:
            return known.dtype
        return value.dtype if _is_tensor(value) else None

    def shape(self, value: ir.Value | None) -> Shape | None:
        """Return the shape at size 1 of every dynamic axis, None where it is not known."""
        known = None if value is None else self._known.get(value.name or "")
        return None if known is None else known.shape

    def is_float(self, value: ir.Value | None) -> bool:
        """Whether a tensor is float32."""
        return self.dtype(value) == ir.DataType.FLOAT

    def touches_float(self, node: ir.Node) -> bool:
        """Whether the node reads or writes a float32 tensor; a Constant is no node here."""
        if is_op(node, "Constant") or self.is_upcast(node):
            return False
        return any(self.is_float(value) for value in (*node.inputs, *node.outputs))

    def is_upcast(self, node: ir.Node) -> bool:
        """Whether the node is a Cast from this half-precision type to float32."""
        return is_op(node, "Cast") and (
            self.dtype(node.inputs[0]) == self.half.dtype and self.is_float(node.outputs[0])
        )

    def ports(self, node: ir.Node) -> Ports:
        """Return the ports of a node that computes in half precision and has no obstacle."""
        lowest = self.opset_for(node)
        schema = None if lowest is None else _schema(node.op_type, lowest)
        if schema is None:
            return Ports((), ())
        anything, parameters = _skipped(node, _ANY_TYPE), _skipped(node, _PARAMETERS)
        floats = [i for i, v in enumerate(node.inputs) if self.is_float(v) and i not in anything]
        fixed = {i for i in parameters if _type_name(schema, i) != _type_name(schema, 0)}
        able = {i for i in floats if i not in fixed and self._may(schema, schema.inputs, i)}
        return Ports(
            tuple(i for i in floats if i in able),
            tuple(
                i
                for i, v in enumerate(node.outputs)
                if self.is_float(v) and self._may(schema, schema.outputs, i)
            ),
            tuple(i for i in floats if i not in able),
        )

    def obstacle(self, node: ir.Node) -> str | None:
        """Say why the node cannot compute in half precision, None where it can."""
        if node.domain not in ("", "ai.onnx"):
            return f"{node.op_type} is of domain {node.domain}, whose types are not known"
        if any(self._is_unknown(value) for value in (*node.inputs, *node.outputs)):
            return "it reads or writes what is no tensor, or a tensor of unknown type"
        if node.op_type in _FIXED:
            return "it draws numbers or makes a table, which would be others"
        if node.op_type in _ILL_TYPED or self.opset_for(node) is None:
            return f"ONNX has no {self.half.name} {node.op_type}"
        return None

    def opset_for(self, node: ir.Node) -> int | None:
        """Return the lowest opset, not below the model's, that has the op in half precision."""
        if (key := self._leading_port(node)) not in self._lowest:
            self._lowest[key] = None if key is None else self._lowest_opset(*key)
        return self._lowest[key]

    def _leading_port(self, node: ir.Node) -> _PortKey | None:
        """Return the first float32 output or, without one, the first such input."""
        for index, output in enumerate(node.outputs):
            if self.is_float(output):
                return node.op_type, "outputs", index
        for index, value in enumerate(node.inputs):
            if self.is_float(value):
                return node.op_type, "inputs", index
        return None

    def _lowest_opset(self, op_type: str, side: Side, index: int) -> int | None:
        for version in range(self._opset, max(self._opset, MAX_OPSET) + 1):
            schema = _schema(op_type, version)
            if schema is not None and self._may(schema, getattr(schema, side), index):
                return version
        return None

    def _may(
        self,
        schema: onnx.defs.OpSchema,
        formal: Sequence[onnx.defs.OpSchema.FormalParameter],
        index: int,
    ) -> bool:
        if not formal:
            return False
        name = str(formal[min(index, len(formal) - 1)].type_str)
        kinds = {kind.type_param_str: kind.allowed_type_strs for kind in schema.type_constraints}
        return _NAMES[self.half.dtype] in kinds.get(name, [name])

    def _is_unknown(self, value: ir.Value | None) -> bool:
        if value is None or not value.name or constant_tensor(value) is not None:
            return False
        if not (value.uses() or value.is_graph_output()):
            return False
        return self.dtype(value) in (None, ir.DataType.UNDEFINED)


def _is_tensor(value: ir.Value) -> bool:
    return value.type is None or isinstance(value.type, ir.TensorType)


def _skipped(node: ir.Node, table: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    return table.get(node.op_type, ())


def _type_name(schema: onnx.defs.OpSchema, index: int) -> str:
    return str(schema.inputs[min(index, len(schema.inputs) - 1)].type_str)


def _schema(op_type: str, version: int) -> onnx.defs.OpSchema | None:
    try:
        schema: onnx.defs.OpSchema = onnx.defs.get_schema(op_type, version, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema
