"""Calls of the kernels that take tensors as ONNX has them: matrix products and softmax."""

from __future__ import annotations

import dataclasses
import math

from tvm import relax, tirx

from bmopt.backends.tvm.lowering.product_kernel import Product, product_kernel
from bmopt.backends.tvm.lowering.reading import Call, is_constant, same_shape, shape_of
from bmopt.backends.tvm.lowering.softmax_kernel import Softmax, softmax_kernel
from bmopt.backends.tvm.lowering.stmts import KERNEL_ATTRIBUTE, Native, PrimFunc
from bmopt.backends.tvm.lowering.values import Values


@dataclasses.dataclass(frozen=True)
class ProductCall:
    """A matrix product that its kernel runs.

    Attributes:
        left: The left operand.
        right: The right operand, a variable or a constant.
        product: Its sizes.
    """

    left: Native
    right: Native
    product: Product


def product_call(call: Call) -> ProductCall | None:
    """Return a product of known sizes; None where the kernel does not run it."""
    left, right = call.args[0], call.args[1]
    first, second = shape_of(left), shape_of(right)
    if first is None or second is None or min(len(first), len(second)) < 2:
        return None
    *batch, rows, depth = first
    *others, _, columns = second
    if not all(isinstance(size, int) for size in (rows, depth, columns, *batch[1:])):
        return None
    shared = not others
    if not shared and not same_shape(batch, others):
        return None
    if shared and all(isinstance(size, int) for size in batch):
        # All rows meet the same matrix: they are one.
        rows, batch = rows * math.prod(batch), []
    return ProductCall(left, right, Product(_count(batch), rows, depth, columns, shared))


@dataclasses.dataclass(frozen=True)
class SoftmaxCall:
    """A softmax along the last axis.

    Attributes:
        source: Its input.
        softmax: Its sizes.
    """

    source: Native
    softmax: Softmax


def softmax_call(call: Call) -> SoftmaxCall | None:
    """Return a softmax along the last axis, of known sizes; None of any other."""
    source = call.args[0]
    sizes = shape_of(source)
    if sizes is None or len(sizes) < 2 or int(call.attrs.axis) not in (-1, len(sizes) - 1):
        return None
    *batch, columns = sizes
    if not all(isinstance(size, int) for size in (columns, *batch[1:])):
        return None
    rows = math.prod(batch[1:])
    return SoftmaxCall(source, Softmax(batch[0], rows, columns))


def _count(sizes: list[Native]) -> Native:
    total: Native = 1
    for size in sizes:
        total = size if isinstance(total, int) and total == 1 else total * size
    return total


def multiplied(values: Values, call: ProductCall, result: Native, name: str) -> Native:
    """Return the product, written with its kernel; ``result`` has its sizes."""
    product = call.product
    right = [product.depth, product.columns]
    arguments = [
        _operand(values, call.left, [product.batch, product.rows, product.depth]),
        _operand(values, call.right, right if product.shared else [product.batch, *right]),
    ]
    made = product_kernel(dataclasses.replace(product, batch=_own(product.batch)), values.machine)
    sizes = [product.batch, product.rows, product.columns]
    return _called(values, made, arguments, sizes, result, name)


def normalised(values: Values, call: SoftmaxCall, result: Native, name: str) -> Native:
    """Return the softmax, written with its kernel; ``result`` has its sizes."""
    softmax = call.softmax
    sizes = [softmax.batch, softmax.rows, softmax.columns]
    made = softmax_kernel(dataclasses.replace(softmax, batch=_own(softmax.batch)), values.machine)
    return _called(values, made, [_operand(values, call.source, sizes)], sizes, result, name)


def _own(batch: Native) -> Native:
    """Return a symbol of the kernel's own for one of the function around it."""
    return batch if isinstance(batch, int) else tirx.Var("n", "int64")


def _operand(values: Values, expr: Native, sizes: list[Native]) -> Native:
    value = expr if is_constant(expr) else values.plain(expr)
    known = shape_of(value)
    if known is not None and len(known) == len(sizes):
        return value
    return values.builder.emit(relax.op.reshape(value, sizes))


def _called(
    values: Values,
    made: PrimFunc,
    arguments: list[Native],
    sizes: list[Native],
    result: Native,
    name: str,
) -> Native:
    """Return what a kernel computes of its arguments, in the shape of ``result``."""
    builder = values.builder
    function = builder.add_func(made, str(made.attrs[KERNEL_ATTRIBUTE]))
    out = relax.TensorType(sizes, "float32")
    given = builder.emit(relax.op.call_tir(function, relax.Tuple(arguments), out), name)
    wanted = shape_of(result)
    if wanted is not None and len(wanted) == len(sizes):
        return given
    return builder.emit(relax.op.reshape(given, wanted), name)
