"""From a QuantizeLinear back to the node whose result it rounds, over Relu and Clip."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.graph.products import clip_bounds
from bmopt.graph.values import constant_array, is_op, only_consumer


@dataclasses.dataclass
class Chain:
    """What is computed up to a QuantizeLinear.

    Attributes:
        core: The node that computes; None where the chain begins at an input.
        low: Lower limit of the real result, from Relu and Clip.
        high: Upper limit.
        bias: Constant added behind the core, per output channel; None without.
        members: Every node that the kernel replaces, the QuantizeLinear last.
    """

    core: ir.Node | None
    low: float
    high: float
    bias: ir.Value | None
    members: tuple[ir.Node, ...]


def chain_to(quantize: ir.Node) -> Chain:
    """Return what ``quantize`` rounds."""
    chain = Chain(None, -np.inf, np.inf, None, (quantize,))
    value = quantize.inputs[0]
    while value is not None:
        node = value.producer()
        if node is None or only_consumer(value) is None:
            return chain
        bounds = clip_bounds(node) if is_op(node, "Relu", "Clip") and chain.bias is None else None
        if bounds is None:
            return _with_core(chain, node)
        chain.low = max(chain.low, min(bounds[0], chain.high))
        chain.high = min(chain.high, max(bounds[1], chain.low))
        chain.members = (node, *chain.members)
        value = node.inputs[0]
    return chain


def _with_core(chain: Chain, node: ir.Node) -> Chain:
    found = biased_product(node)
    if found is None:
        return dataclasses.replace(chain, core=node, members=(node, *chain.members))
    core, bias = found
    members = (core, node, *chain.members)
    return dataclasses.replace(chain, core=core, bias=bias, members=members)


def biased_product(node: ir.Node) -> tuple[ir.Node, ir.Value] | None:
    """Return the MatMul and the constant that ``node`` adds to what it alone reads of it."""
    if not is_op(node, "Add"):
        return None
    for bias, product in (node.inputs[:2], node.inputs[1::-1]):
        core = None if product is None else product.producer()
        array = constant_array(bias)
        if core is None or product is None or bias is None or not is_op(core, "MatMul"):
            continue
        if array is not None and array.ndim <= 1 and only_consumer(product) is node:
            return core, bias
    return None
