"""The pass ``append-top-k``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import producer_of
from bmopt.optimizer.pass_base import Effect, Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import add_constant, fresh_name, opset
from bmopt.optimizer.sweeps import RefusedError

_TAKEN = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
_CAST = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclasses.dataclass(frozen=True)
class AppendTopK(Pass):
    """Give the highest scores and their classes in the place of all scores.

    An output ``NAME`` of scores, ``[N, classes]``, becomes ``NAME_scores`` (highest first) and
    ``NAME_classes`` (int64), both ``[N, k]``; of equal scores the first class counts. Half
    precision is compared in float32. Other outputs stay. No other pass renames an output.

    Refused: no or several outputs of scores, and fewer classes than ``k``.

    Attributes:
        k: How many of the scores are given.
    """

    name: ClassVar[str] = "append-top-k"
    effect: ClassVar[Effect] = "lossy"

    k: int

    def call(self, model: ir.Model) -> Outcome:
        """Put a TopK behind the scores."""
        try:
            index, value, classes = self._scores(model)
        except RefusedError as error:
            return Outcome(model, False, (Refusal("the model", str(error)),))
        del model.graph.outputs[index]
        for at, output in enumerate(self._ranked(model, value, classes)):
            model.graph.outputs.insert(index + at, output)
        return Outcome(model, True)

    def _scores(self, model: ir.Model) -> tuple[int, ir.Value, int]:
        """Return the output of scores: its position, itself and the number of classes."""
        found = [
            (index, value, classes)
            for index, value in enumerate(model.graph.outputs)
            if (classes := _classes(value)) > 1
        ]
        if len(found) != 1:
            raise RefusedError(f"has {len(found)} outputs of scores [N, classes] in floats, not 1")
        if not 0 < self.k <= found[0][2]:
            raise RefusedError(f"has {found[0][2]} classes, of which {self.k} cannot be given")
        return found[0]

    def _ranked(self, model: ir.Model, value: ir.Value, classes: int) -> list[ir.Value]:
        """Return the outputs for ``value``, whose last axis has ``classes`` elements."""
        assert value.shape is not None
        assert value.dtype is not None
        shape = ir.Shape([value.shape[0], self.k])
        is_cast = value.dtype in _CAST
        wide = ir.DataType.FLOAT if is_cast else value.dtype
        end = _End(model.graph, value)
        source = end.cast(value, wide, ir.Shape([value.shape[0], classes])) if is_cast else value
        best, index = end.top_k(source, self.k, opset(model))
        best.type, best.shape = ir.TensorType(wide), shape
        index.type, index.shape = ir.TensorType(ir.DataType.INT64), shape.copy()
        scores = end.cast(best, value.dtype, shape.copy()) if is_cast else best
        scores.name = fresh_name(model.graph, f"{value.name}_scores")
        index.name = fresh_name(model.graph, f"{value.name}_classes")
        return [scores, index]


def _classes(value: ir.Value) -> int:
    """Return how many scores an output has, 0 where it has none or has been ranked already."""
    shape = () if value.shape is None else tuple(value.shape)
    if len(shape) != 2 or value.dtype not in (*_TAKEN, *_CAST):
        return 0
    cast = producer_of(value, "Cast")
    if producer_of(value if cast is None else cast.inputs[0], "TopK") is not None:
        return 0
    return shape[1] if isinstance(shape[1], int) else 0


class _End:
    """Nodes at the end of a graph that stand for what writes an output."""

    def __init__(self, graph: ir.Graph, value: ir.Value) -> None:
        self._graph = graph
        self._value = value

    def cast(self, source: ir.Value, dtype: ir.DataType, shape: ir.Shape) -> ir.Value:
        (out,) = self._append("Cast", [source], ["cast"], to=int(dtype))
        out.type, out.shape = ir.TensorType(dtype), shape
        return out

    def top_k(self, source: ir.Value, k: int, version: int) -> tuple[ir.Value, ir.Value]:
        names = ["best", "index"]
        if version < 10:
            best, index = self._append("TopK", [source], names, k=k, axis=1)
        else:
            count = add_constant(self._graph, self._named("k"), np.array([k], np.int64))
            best, index = self._append("TopK", [source, count], names, axis=1)
        return best, index

    def _named(self, stem: str) -> str:
        return f"{self._value.name}_{stem}"

    def _append(
        self, op_type: str, inputs: list[ir.Value], outputs: list[str], **attributes: int
    ) -> tuple[ir.Value, ...]:
        name = fresh_name(self._graph, self._named(op_type.lower()))
        node = ir.node(op_type, inputs, attributes=attributes, name=name, num_outputs=len(outputs))
        for out, stem in zip(node.outputs, outputs, strict=True):
            out.name = fresh_name(self._graph, self._named(stem))
        writer = self._value.producer()
        merge_origin(node, [] if writer is None else [writer])
        self._graph.append(node)
        return tuple(node.outputs)
