"""Take a model that came quantised apart: a float model, and its quantisation as values."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.core.imported import Imported, ImportedRange
from bmopt.core.scheme import StoredType
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.imported.spread import spread_ranges
from bmopt.optimizer.imported.stripping import strip
from bmopt.optimizer.imported.weights import WeightScales, weight_scales


def import_quantized(model: ir.Model, stored: StoredType = "int8") -> Imported:
    """Return a float copy of a model that came quantised, and what its quantisation was.

    Pairs of Q/DQ are removed, integers become the float32 numbers that they stand for, ops on
    integers become their float ops; names of nodes, inputs and outputs stay. With every tensor
    of ``tensors`` rounded and saturated as it says, the copy computes what the source does.
    Parts in float16 and bfloat16 become float32; inputs and outputs keep their types.

    Args:
        model: The model; it is not changed.
        stored: Type that the target stores in 8 bits. What the source stores in another kind is
            noted as re-encoded, and such weights have no scales in the result.

    Raises:
        QuantizationError: It is quantised in a way that has no static 8-bit equivalent; the
            message names the node.
    """
    copy = model.clone()
    ledger = strip(copy, stored)
    scales = weight_scales(ledger)
    spread_ranges(copy, ledger.ranges)
    return _imported(ledger, scales)


def _imported(ledger: Ledger, scales: WeightScales) -> Imported:
    return Imported(
        model=ledger.model,
        tensors=_by_name(ledger.ranges),
        weight_scales=scales.scales,
        keep_float=scales.float_products,
        notes=ledger.notes,
    )


def _by_name(ranges: dict[ir.Value, ImportedRange]) -> dict[str, ImportedRange]:
    return {v.name: entry for v, entry in ranges.items() if v.name and _is_there(v)}


def _is_there(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_graph_input() if producer is None else producer.graph is not None
