"""Turn a quantised model into a float one, node by node."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.core.scheme import StoredType
from bmopt.errors import QuantizationError
from bmopt.graph.nesting import nodes_in
from bmopt.optimizer.imported.boundaries import return_integers
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.imported.movers import move_reals
from bmopt.optimizer.imported.pairs import (
    is_dequantize,
    is_quantize,
    lift_dequantize,
    lift_quantize,
)
from bmopt.optimizer.imported.q_operators import form_of, lift_operator, refuse_op
from bmopt.optimizer.imported.widening import widen_halves
from bmopt.optimizer.passes.inline_functions import InlineFunctions
from bmopt.optimizer.rewrite import remove_dead, remove_unused_initializers, share_names
from bmopt.optimizer.shapes.values import nodes_in_order


def strip(model: ir.Model, stored: StoredType = "int8") -> Ledger:
    """Turn ``model`` to float32 in place and return what was found.

    ``stored`` is the type that the target stores in 8 bits.

    Raises:
        QuantizationError: It is quantised in a way that has no static 8-bit equivalent; the
            message names the node. The model is then left half done.
    """
    _inline(model)
    share_names(model)
    widen_halves(model)
    ledger = Ledger(model, stored)
    for node in nodes_in_order(model.graph):
        _lift(ledger, node)
    return_integers(ledger)
    remove_dead(reversed(ledger.done))
    remove_unused_initializers(model)
    return ledger


def _inline(model: ir.Model) -> None:
    if any(map(_quantizes, model.functions.values())):
        InlineFunctions()(model)
    for function in model.functions.values():
        if _quantizes(function):
            raise QuantizationError(
                f"function {function.name!r} quantises and cannot be inlined; export without it"
            )


def _quantizes(function: ir.Function) -> bool:
    return any(is_quantize(node) or is_dequantize(node) for node in nodes_in(function))


def _lift(ledger: Ledger, node: ir.Node) -> None:
    form = form_of(node)
    if is_quantize(node):
        lift_quantize(ledger, node)
    elif is_dequantize(node):
        lift_dequantize(ledger, node)
    elif form is not None:
        lift_operator(ledger, node, form)
    elif any(value in ledger.lifted for value in node.inputs if value is not None):
        move_reals(ledger, node)
    else:
        refuse_op(node)
