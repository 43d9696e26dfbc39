"""The pass ``unflatten-gemm``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import is_op, producer_of
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import new_node, remove_dead, replace_output
from bmopt.optimizer.sweeps import RefusedError, require_private, sweep

Dims = tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class UnflattenGemm(Pass):
    """Turn a Gemm between two Reshapes back into a MatMul and an Add of the original rank.

    ``Reshape(Gemm(Reshape(x), W, b))``, where the first Reshape flattens all axes but the last
    and the second restores them, becomes ``Add(MatMul(x, W), b)``; onnxsim writes the former
    for the latter.

    Refused: scaled or transposed Gemms, a bias that is no row, values in between that are read
    elsewhere, and shapes that are not known to come back as they were.
    """

    name: ClassVar[str] = "unflatten-gemm"

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite every such Gemm."""
        return sweep(model, _unflatten)


def _unflatten(node: ir.Node) -> bool:
    gemm = producer_of(node.inputs[0], "Gemm") if is_op(node, "Reshape") else None
    flatten = None if gemm is None else producer_of(gemm.inputs[0], "Reshape")
    if gemm is None or flatten is None:
        return False
    require_private(gemm.outputs[0], node)
    require_private(flatten.outputs[0], gemm)
    _require_plain(gemm)
    source = flatten.inputs[0]
    _require_restored(source, gemm, node)
    chain = (flatten, gemm, node)
    result = new_node("MatMul", [source, gemm.inputs[1]], like=node, stands_for=chain).outputs[0]
    shape, kind = node.outputs[0].shape, node.outputs[0].type
    if (bias := _bias(gemm)) is not None:
        result.type, result.shape = kind, shape
        result = new_node("Add", [result, bias], like=node, stands_for=chain).outputs[0]
    result.type, result.shape = kind, shape
    replace_output(node.outputs[0], result)
    remove_dead([node])
    return True


def _require_plain(gemm: ir.Node) -> None:
    attributes = gemm.attributes
    if attributes.get_int("transA", 0) or attributes.get_int("transB", 0):
        raise RefusedError(f"restores the shape of {gemm.name!r}, which transposes")
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        raise RefusedError(f"restores the shape of {gemm.name!r}, which scales")
    bias = _bias(gemm)
    dims = () if bias is None else _dims(bias)
    if dims is None or dims[:-1] not in ((), (1,)):
        raise RefusedError(f"restores the shape of {gemm.name!r}, whose bias is no row")


def _bias(gemm: ir.Node) -> ir.Value | None:
    return gemm.inputs[2] if len(gemm.inputs) > 2 else None


def _require_restored(source: ir.Value | None, gemm: ir.Node, node: ir.Node) -> None:
    before, after = _dims(source), _dims(node.outputs[0])
    flat, product = _dims(gemm.inputs[0]), _dims(gemm.outputs[0])
    if before is None or after is None or flat is None or product is None:
        raise RefusedError("has axes of unknown size before or after it")
    if len(before) < 2 or before[-1] != flat[-1] or after != (*before[:-1], product[-1]):
        raise RefusedError("does not restore the axes that were flattened")


def _dims(value: ir.Value | None) -> Dims | None:
    """Return the shape, None where an axis has neither size nor symbol."""
    if value is None or value.shape is None:
        return None
    dims = [d if isinstance(d, int) else d.value for d in value.shape]
    known = tuple(d for d in dims if d is not None)
    return known if len(known) == len(dims) else None
