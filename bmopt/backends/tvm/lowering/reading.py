"""What an imported Relax function says, in plain values."""

from __future__ import annotations

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from bmopt.backends.tvm.lowering.packing import Floats
from bmopt.backends.tvm.lowering.stmts import Native

Var = Native
Call = Native


class NotStraightError(Exception):
    """A function has control flow, and is left to TVM."""


def is_var(expr: Native) -> bool:
    """Return whether an expression is a variable."""
    return isinstance(expr, tvm.ir.Var)


def is_constant(expr: Native) -> bool:
    """Return whether an expression is a constant tensor."""
    return isinstance(expr, tvm.ir.expr.GenericConst)


def floats(expr: Native) -> Floats | None:
    """Return a constant float tensor's values; None of anything else."""
    if not is_constant(expr) or not hasattr(expr.value, "numpy"):
        return None
    values: Native = expr.value.numpy()
    return values if values.dtype == np.float32 else None


def shape_of(expr: Native) -> list[Native] | None:
    """Return the sizes of a float tensor, numbers or symbols; None of anything else."""
    ty = getattr(expr, "ty", None)
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    if str(ty.dtype) != "float32":
        return None
    return [int(one) if isinstance(one, tirx.IntImm) else one for one in ty.shape.values]


def fixed(sizes: list[Native] | None, rank: int) -> bool:
    """Return whether a tensor has so many axes, all but the first of known size."""
    return sizes is not None and len(sizes) == rank and all(type(s) is int for s in sizes[1:])


def is_image(sizes: list[Native] | None) -> bool:
    """Return whether a tensor has one or two axes of space, of known sizes."""
    return fixed(sizes, 3) or fixed(sizes, 4)


def known(sizes: list[Native] | None) -> bool:
    """Return whether a tensor has channels, and maybe space, of known sizes."""
    return fixed(sizes, 2) or is_image(sizes)


def op_name(call: Call) -> str:
    """Return an operator's name without ``relax.``; nothing of what is no operator's call."""
    op = getattr(call, "op", None)
    return op.name.removeprefix("relax.") if isinstance(op, tvm.ir.Op) else ""


def numbers(values: Native) -> tuple[int, ...]:
    """Return integers of an attribute or argument."""
    return tuple(int(one) for one in values)


def imported_kernel(mod: Native, call: Call) -> tuple[Native, list[Native]] | None:
    """Return the only store of a called function, and the call's operands."""
    if op_name(call) != "call_tir" or not isinstance(call.args[1], relax.Tuple):
        return None
    node = mod[call.args[0]].body
    while not isinstance(node, tirx.BufferStore):
        if isinstance(node, tirx.For | tvm.s_tir.SBlock):
            node = node.body
        elif isinstance(node, tvm.s_tir.SBlockRealize):
            node = node.block
        else:
            return None
    return node, list(call.args[1].fields)


def same_size(one: Native, other: Native) -> bool:
    """Return whether two sizes are the same number or symbol."""
    if isinstance(one, int) or isinstance(other, int):
        return type(one) is type(other) and bool(one == other)
    return bool(tvm_ffi.structural_equal(one, other))


def same_shape(one: list[Native] | None, other: list[Native] | None) -> bool:
    """Return whether two tensors have the same known sizes."""
    if one is None or other is None or len(one) != len(other):
        return False
    return all(same_size(a, b) for a, b in zip(one, other, strict=True))
