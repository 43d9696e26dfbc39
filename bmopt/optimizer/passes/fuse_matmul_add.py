"""The pass ``fuse-matmul-add``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_tensor, is_op, producer_of
from bmopt.optimizer.arithmetic.affine_ops import affine_of, affine_operands, fold_backwards
from bmopt.optimizer.arithmetic.linear_ops import FLOATS, take_over
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import remove_dead
from bmopt.optimizer.sweeps import RefusedError, require_private, sweep


@dataclasses.dataclass(frozen=True)
class FuseMatMulAdd(Pass):
    """Turn a rank-2 MatMul and the constant added to it into one Gemm.

    1. ``Add(MatMul(x, W), b)`` becomes ``Gemm(x, W, b)`` where ``x`` is of rank 2, ``W`` is a
       constant matrix and ``b`` a constant scalar or row.
    2. ``Add(Gemm(...), b)`` puts ``b`` into the Gemm's bias.
    3. ``Gemm(x, Transpose(W))`` and the like read ``W`` and set ``transB``.

    Refused: data whose rank is not known to be 2 (a Gemm would need a Reshape on either side),
    constants of another shape, and a product that is read elsewhere or is a graph output.
    """

    name: ClassVar[str] = "fuse-matmul-add"

    def call(self, model: ir.Model) -> Outcome:
        """Fuse every pair that can be."""
        return sweep(model, _fuse)


def _fuse(node: ir.Node) -> bool:
    if is_op(node, "Gemm", "MatMul"):
        return _read_untransposed(node)
    operands = affine_operands(node) if is_op(node, "Add", "Sub") else None
    source, constant = operands or (None, None)
    product = producer_of(source, "MatMul", "Gemm")
    if product is None or constant is None:
        return False
    if product.op_type == "MatMul" and is_op(node, "Add"):
        return _to_gemm(product, node, constant)
    affine = affine_of(node)
    return affine is not None and fold_backwards(affine)


def _to_gemm(product: ir.Node, add: ir.Node, constant: ir.Value) -> bool:
    weight, bias = constant_tensor(product.inputs[1]), constant_tensor(constant)
    if weight is None or bias is None or len(weight.shape) != 2 or weight.dtype not in FLOATS:
        return False
    require_private(product.outputs[0], add)
    if _rank(product.inputs[0]) != 2:
        raise RefusedError(f"adds to MatMul {product.name!r}, which is not of rank 2")
    columns = int(weight.shape.numpy()[1])
    if tuple(bias.shape.numpy()) not in ((), (1,), (1, 1), (columns,), (1, columns)):
        raise RefusedError("adds a constant that is neither a scalar nor a row")
    product.op_type = "Gemm"
    product.resize_inputs(3)
    product.replace_input_with(2, constant)
    take_over(product, add)
    return True


def _read_untransposed(node: ir.Node) -> bool:
    transpose = producer_of(node.inputs[1], "Transpose")
    if transpose is None or transpose.inputs[0] is None or node.graph is not transpose.graph:
        return False
    if _rank(transpose.inputs[0]) != 2 or _rank(node.inputs[0]) != 2:
        return False
    if list(transpose.attributes.get_ints("perm", ()) or (1, 0)) != [1, 0]:
        return False
    if node.inputs[1] is None or node.inputs[1].dtype not in FLOATS:
        return False
    node.op_type = "Gemm"
    flipped = 1 - node.attributes.get_int("transB", 0)
    node.attributes.add(ir.AttrInt64("transB", flipped))
    node.replace_input_with(1, transpose.inputs[0])
    merge_origin(node, [transpose])
    remove_dead([transpose])
    return True


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None else value.shape.rank()
