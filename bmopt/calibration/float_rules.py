"""Products that a target runs faster in float, by their shape."""

from __future__ import annotations

from bmopt.core.scheme import FloatRules
from bmopt.graph.products import Product, multiply_adds, rows_of


def rule_reason(product: Product, rules: FloatRules) -> str | None:
    """Return which of ``rules`` keeps ``product`` in float; None where none does.

    ``prefix`` is left to the caller, who knows the order of the products.
    """
    if product.node.op_type == "Conv":
        return _convolution_reason(product, rules)
    if product.node.op_type == "ConvTranspose":
        return _narrow_reason(product.shape[0] // product.groups, product.shape[1], rules)
    return _matrix_reason(product, rules)


def _convolution_reason(product: Product, rules: FloatRules) -> str | None:
    if product.is_depthwise:
        narrow = product.channels < rules.narrow_depthwise
        return f"depthwise over {product.channels} channels only" if narrow else None
    inputs = product.shape[1] * product.groups
    if inputs <= rules.narrow_input:
        return f"reads {inputs} channels only"
    return _narrow_reason(product.shape[1], product.shape[0] // product.groups, rules)


def _narrow_reason(inputs: int, outputs: int, rules: FloatRules) -> str | None:
    if inputs < rules.narrow_channels:
        return f"reads {inputs} channels a group only"
    if outputs < rules.narrow_channels:
        return f"writes {outputs} channels a group only"
    return None


def _matrix_reason(product: Product, rules: FloatRules) -> str | None:
    work = multiply_adds(product)
    if work is not None and work < rules.small_product:
        return f"only {work} multiply-adds"
    sides = product.shape[-2:]
    if min(sides, default=0) < rules.narrow_matrix:
        return f"its weight is only {min(sides, default=0)} wide or high"
    if rules.vectors and rows_of(product) == 1:
        return "multiplies a single row"
    return "multiplies by a single column" if rules.vectors and product.channels == 1 else None
