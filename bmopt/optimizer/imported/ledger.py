"""What is known while a quantised graph is turned to float: integers and their real values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.imported import ImportedRange
from bmopt.core.runner import Array
from bmopt.core.scheme import StoredType
from bmopt.graph.origin import merge_origin
from bmopt.optimizer.imported.clips import implied_clip
from bmopt.optimizer.imported.constants import known_array
from bmopt.optimizer.imported.encodings import (
    FLOAT8,
    Encoding,
    require_activation,
    require_fit,
)
from bmopt.optimizer.rewrite import add_constant, fresh_name, root_graph


@dataclasses.dataclass(frozen=True)
class Lift:
    """The real tensor behind a tensor of integers, and how the integers encode it."""

    value: ir.Value
    encoding: Encoding


class Ledger:
    """Collects, node by node, what integers stand for, and what follows from it.

    Attributes:
        model: The model that is rewritten.
        stored: Type that the target stores in 8 bits.
        lifted: Tensor of integers -> the real tensor that it stands for.
        folded: Float constant -> how the integers encoded it that it was made of.
        ranges: Real tensor -> its encoding in the source.
        notes: Node of the source -> what was changed there.
        chained: QuantizeLinear nodes that alone read what came out of another pair.
        done: Nodes of the source whose results nobody needs any more.
    """

    def __init__(self, model: ir.Model, stored: StoredType) -> None:
        self.model = model
        self.stored = stored
        self.lifted: dict[ir.Value, Lift] = {}
        self.folded: dict[ir.Value, Encoding] = {}
        self.ranges: dict[ir.Value, ImportedRange] = {}
        self.notes: dict[str, str] = {}
        self.chained: set[ir.Node] = set()
        self.done: list[ir.Node] = []
        self._clips: dict[tuple[ir.Value, str], ir.Value] = {}

    def known(self, value: ir.Value | None) -> Array | None:
        """Return what ``value`` holds if constants alone decide it."""
        return known_array(value, self.model)

    def note(self, node: ir.Node, text: str) -> None:
        """Add to what was changed at ``node``."""
        before = self.notes.get(node.name or "")
        self.notes[node.name or ""] = text if before is None else f"{before}; {text}"

    def lift(
        self,
        integers: ir.Value,
        real: ir.Value,
        encoding: Encoding,
        node: ir.Node,
        *,
        written: bool = True,
    ) -> None:
        """Record that ``integers``, computed by ``node``, stand for ``real``.

        Args:
            integers: The tensor of integers.
            real: The tensor that they encode.
            encoding: How.
            node: Node of the source that decides the encoding.
            written: The integers were rounded and saturated here, not moved from elsewhere; an
                encoding that starts at 0 then does what a Relu does.

        Raises:
            QuantizationError: No activation can be encoded so.
        """
        require_activation(node, encoding)
        if written:
            real = self._clipped(real, encoding, node)
        self._record(real, encoding, node)
        self.lifted[integers] = Lift(real, encoding)

    def constant(self, node: ir.Node, integers: Array, encoding: Encoding, stem: str) -> ir.Value:
        """Return a new float constant that ``integers`` stand for.

        Raises:
            QuantizationError: There are more or fewer scales than channels.
        """
        require_fit(node, encoding, integers)
        value = add_constant(root_graph(node), stem, encoding.dequantized(integers))
        self.folded[value] = encoding
        return value

    def _clipped(self, real: ir.Value, encoding: Encoding, node: ir.Node) -> ir.Value:
        producer = real.producer()
        clip = implied_clip(real, encoding.as_range(), self.model)
        if clip is None or producer is None:
            return real
        key = (real, clip)
        if key not in self._clips:
            graph = root_graph(producer)
            limits = (0.0, 6.0) if clip == "Clip" else ()
            bounds = [add_constant(graph, f"clip_{v:g}", np.array(v, np.float32)) for v in limits]
            self._clips[key] = behind(producer, clip, [real, *bounds], like=node)
            self.note(node, f"its saturation at 0 is a {clip} now")
        return self._clips[key]

    def _record(self, real: ir.Value, encoding: Encoding, node: ir.Node) -> None:
        """Keep the wider of two encodings, or the narrower if one follows the other."""
        new = encoding.as_range()
        old = self.ranges.get(real)
        if old is not None and old != new:
            narrower, wider = sorted((old, new), key=lambda r: r.bound)
            kept = narrower if node in self.chained else wider
            self.note(
                node, f"{real.name!r} has two encodings; the one to {kept.bound:.4g} is kept"
            )
            new = kept
        elif old is None and not self.keeps(encoding):
            self.note(node, _re_encoded(new, self.stored))
        self.ranges[real] = new

    def keeps(self, encoding: Encoding) -> bool:
        """Whether the target, whose encodings are symmetric, can store what ``encoding`` does."""
        same_kind = (encoding.dtype == FLOAT8) == (self.stored == FLOAT8)
        return same_kind and encoding.is_symmetric


def behind(
    producer: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value],
    *,
    like: ir.Node,
    attributes: Mapping[str, Any] | None = None,
) -> ir.Value:
    """Insert a node behind ``producer`` that stands for ``like``; return its result.

    The result has the type and shape of the first input.
    """
    graph = root_graph(producer)
    stem = f"{inputs[0].name}_{op_type.lower()}"
    node = ir.node(
        op_type, inputs, attributes=dict(attributes or {}), name=fresh_name(graph, stem)
    )
    result = node.outputs[0]
    result.name = fresh_name(graph, f"{stem}_out")
    result.type, result.shape = inputs[0].type, inputs[0].shape
    merge_origin(node, [like])
    graph.insert_after(producer, node)
    return result


def _re_encoded(source: ImportedRange, stored: StoredType) -> str:
    if FLOAT8 in (source.dtype, stored):
        return f"{source.dtype} re-encoded as {stored}"
    wider = source.bound / 127.0 / source.scale
    return (
        f"{source.dtype} zero point {source.zero_point} re-encoded as symmetric int8: "
        f"steps {wider:.2f} times as wide"
    )
