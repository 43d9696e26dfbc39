"""The pass ``fold-pad``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_array, is_op, static_shape
from bmopt.optimizer.arithmetic.linear_ops import drop_unused
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import remove_dead
from bmopt.optimizer.sweeps import RefusedError, sweep

_READERS = ("Conv", "AveragePool", "MaxPool", "ConvTranspose")


@dataclasses.dataclass(frozen=True)
class FoldPad(Pass):
    """Fold a Pad of zeros into the ``pads`` of the Conv or AveragePool that reads it.

    1. Each Conv gets the Pad's spatial amounts on top of its own; ``auto_pad`` becomes explicit,
       for which SAME needs a known input size.
    2. An AveragePool that does not pad itself, or counts its padding, counts the new one.
    3. The Pad goes when nobody reads it any more.

    Refused: other modes than constant, other values than zero, amounts that are computed or
    negative, padding of batch or channels; MaxPool, which pads with minus infinity;
    ConvTranspose, whose pads crop; a pool that rounds its output size up, mixes counted and
    uncounted padding, or would pad by its kernel's size or more.
    """

    name: ClassVar[str] = "fold-pad"

    def call(self, model: ir.Model) -> Outcome:
        """Fold every Pad that can be."""
        return sweep(model, _fold)


def _fold(node: ir.Node) -> bool:
    if not is_op(node, *_READERS) or node.inputs[0] is None:
        return False
    pad = node.inputs[0].producer()
    if pad is None or not is_op(pad, "Pad") or pad.inputs[0] is None:
        return False
    if node.op_type == "MaxPool":
        raise RefusedError("is a MaxPool, which pads with minus infinity, not with zero")
    if node.op_type == "ConvTranspose":
        raise RefusedError("is a ConvTranspose, whose pads crop the output")
    amounts = _pad_amounts(pad)
    if pad.graph is not node.graph:
        raise RefusedError("reads a Pad of an outer graph")
    rank = len(amounts) // 2
    own = _own_pads(node, rank - 2)
    extra = (*amounts[2:rank], *amounts[rank + 2 :])
    total = [a + b for a, b in zip(own, extra, strict=True)]
    if node.op_type == "AveragePool":
        _require_countable(node, own, total)
        node.attributes.add(ir.AttrInt64("count_include_pad", 1))
    node.attributes.pop("auto_pad", None)
    node.attributes.add(ir.AttrInt64s("pads", total))
    node.replace_input_with(0, pad.inputs[0])
    merge_origin(node, [pad])
    operands = pad.inputs
    remove_dead([pad])
    for operand in operands:
        drop_unused(operand)
    return True


def _pad_amounts(pad: ir.Node) -> tuple[int, ...]:
    """Return the amounts before and after every axis, all of them checked."""
    if pad.attributes.get_string("mode", "constant") != "constant":
        raise RefusedError("reads a Pad that does not fill with a constant")
    if _fill(pad) != 0:
        raise RefusedError("reads a Pad that does not fill with zero")
    amounts = _amounts(pad)
    rank = len(amounts) // 2
    if any(amounts[i] for i in (0, 1, rank, rank + 1)):
        raise RefusedError("reads a Pad of the batch or channel axis")
    if min(amounts) < 0:
        raise RefusedError("reads a Pad that crops")
    return amounts


def _fill(pad: ir.Node) -> float | None:
    if len(pad.inputs) < 3 or pad.inputs[2] is None:
        return pad.attributes.get_float("value", 0.0)
    array = constant_array(pad.inputs[2])
    return None if array is None or array.size == 0 else float(array.reshape(-1)[0])


def _amounts(pad: ir.Node) -> tuple[int, ...]:
    if "pads" in pad.attributes:
        return tuple(pad.attributes.get_ints("pads", ()))
    array = constant_array(pad.inputs[1]) if len(pad.inputs) > 1 else None
    if array is None:
        raise RefusedError("reads a Pad whose amounts are computed")
    given = [int(amount) for amount in array.reshape(-1)]
    if len(pad.inputs) < 4 or pad.inputs[3] is None:
        return tuple(given)
    return _on_all_axes(pad, given)


def _on_all_axes(pad: ir.Node, given: list[int]) -> tuple[int, ...]:
    axes, data = constant_array(pad.inputs[3]), pad.inputs[0]
    if axes is None or data is None or data.shape is None:
        raise RefusedError("reads a Pad whose axes or rank are unknown")
    rank = data.shape.rank()
    full = [0] * (2 * rank)
    for i, axis in enumerate(int(a) % rank for a in axes.reshape(-1)):
        full[axis], full[rank + axis] = given[i], given[axes.size + i]
    return tuple(full)


def _own_pads(node: ir.Node, spatial: int) -> tuple[int, ...]:
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return tuple(node.attributes.get_ints("pads", ()) or [0] * (2 * spatial))
    if mode == "VALID":
        return (0,) * (2 * spatial)
    size, kernel = static_shape(node.inputs[0]), _kernel(node)
    if size is None or kernel is None:
        raise RefusedError(f"pads by auto_pad={mode}, and its input's size is unknown")
    strides = node.attributes.get_ints("strides", ()) or [1] * spatial
    dilations = node.attributes.get_ints("dilations", ()) or [1] * spatial
    needed = [
        max((-(-s // stride) - 1) * stride + (k - 1) * dilation + 1 - s, 0)
        for s, k, stride, dilation in zip(size[2:], kernel, strides, dilations, strict=True)
    ]
    small, large = [n // 2 for n in needed], [n - n // 2 for n in needed]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def _kernel(node: ir.Node) -> Sequence[int] | None:
    given = node.attributes.get_ints("kernel_shape", ())
    if given:
        return given
    weight = static_shape(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if weight is None else weight[2:]


def _require_countable(node: ir.Node, own: Sequence[int], total: Sequence[int]) -> None:
    if node.attributes.get_int("ceil_mode", 0):
        raise RefusedError("is a pool that rounds its output size up")
    if any(own) and not node.attributes.get_int("count_include_pad", 0):
        raise RefusedError("is a pool that does not count its own padding")
    kernel = node.attributes.get_ints("kernel_shape", ())
    if any(amount >= k for amount, k in zip(total, (*kernel, *kernel), strict=True)):
        raise RefusedError("is a pool that would pad by its kernel's size or more")
