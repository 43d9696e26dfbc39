"""Decide which activations are stored less a constant: the absorption plan.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", arXiv:1906.04721, section 4.2.2, absorbs the smallest value of an activation into the
next bias. Here it is the middle of its range, so that an encoding with zero point 0 has both of
its halves filled.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.absorption import AbsorptionPlan, Shift
from bmopt.core.ranges import Interval, Method, RangeTable
from bmopt.core.scheme import Scheme
from bmopt.graph.model_digest import model_digest
from bmopt.graph.shift_chains import ShiftChain, shift_chains

_ONE_SIDED = 0.2
"""How far below zero a range may go, as a part of how far above."""

_NO_READER = "no reader of it runs in 8 bits"
_NO_RANGE = "the range table has no range of what reads it"
_INFINITE = "it was seen to be infinite"
_TWO_SIDED = "its range is not one-sided"


def plan_absorption(
    model: ir.Model, table: RangeTable, scheme: Scheme, method: Method = "minmax"
) -> AbsorptionPlan:
    """Plan a shift of every activation whose range lies on one side of zero, to its middle.

    Where several tensors are read behind the activation (a pooled one beside it), it is the
    middle of them all. Nothing is planned for encodings with a zero point of their own, for
    float8, whose steps are finest about zero, and for schemes that quantise outputs: there an
    encoding does the clipping, which a shifted one would not.

    Args:
        model: After ``simplify``; is not changed.
        table: Ranges of the model.
        scheme: How activations will be stored.
        method: Which of the affine intervals is the range.

    Raises:
        CalibrationError: The table is of another model.
    """
    digest = model_digest(model)
    table.require_model(digest)
    if not _gains(scheme):
        return AbsorptionPlan(digest, ())
    chains = shift_chains(model.graph)
    refused, shifts = dict(chains.refused), []
    for chain in chains.found:
        read = _Read(chain, table, scheme)
        reason = read.reason(method)
        if reason:
            refused[chain.tensor.name or ""] = reason
        else:
            shifts.append(_shift_of(chain, read.interval(method)))
    return AbsorptionPlan(digest, tuple(shifts), refused)


def _gains(scheme: Scheme) -> bool:
    encoding = scheme.activation
    integers = encoding.dtype in ("int8", "uint8")
    return encoding.symmetric and integers and scheme.side == "inputs"


class _Read:
    """What is read of an activation in 8 bits, and in which range."""

    def __init__(self, chain: ShiftChain, table: RangeTable, scheme: Scheme) -> None:
        readers = [node for node in chain.readers if node.op_type in scheme.products]
        names = dict.fromkeys(_data_name(node) for node in readers)
        self._entries = [table.tensors.get(name) for name in names]

    def reason(self, method: Method) -> str:
        """Return why nothing is gained by a shift, empty where something is."""
        if not self._entries:
            return _NO_READER
        if any(entry is None for entry in self._entries):
            return _NO_RANGE
        if any(entry is not None and entry.infinities for entry in self._entries):
            return _INFINITE
        interval = self.interval(method)
        one_sided = interval.high > 0.0 and interval.low >= -_ONE_SIDED * interval.high
        return "" if one_sided else _TWO_SIDED

    def interval(self, method: Method) -> Interval:
        found = [e.interval(method, symmetric=False) for e in self._entries if e is not None]
        return Interval(min(i.low for i in found), max(i.high for i in found))


def _shift_of(chain: ShiftChain, interval: Interval) -> Shift:
    low, high = chain.bounds
    middle = min(max((interval.low + interval.high) / 2, low), high)
    return Shift(
        tensor=chain.tensor.name or "",
        writer=chain.writer.name or "",
        clip=chain.clip.name or "",
        readers=tuple(node.name or "" for node in chain.readers),
        amount=float(np.float32(middle)),
    )


def _data_name(node: ir.Node) -> str:
    value = node.inputs[0]
    assert value is not None
    return value.name or ""
