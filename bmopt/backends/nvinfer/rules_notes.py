"""What runs as asked, but could cost less or was not made for this parser."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from bmopt.backends.nvinfer.linted import Check, Linted, found
from bmopt.core.finding import Finding, Rule
from bmopt.graph.products import PRODUCT_OPS

OPSET = Rule("TRT201", "opset", "note", "NVIDIA documents the parser for opsets 9 to 25.")
OUTPUT_PAIR = Rule(
    "TRT203",
    "output-pair",
    "note",
    "Q/DQ stands before the inputs of products; between a product and its activation, or at the "
    "end of the graph, it only rounds.",
)

RULES = (OPSET, OUTPUT_PAIR)

_FIRST_OPSET, _LAST_OPSET = 9, 25
_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu"}
    | {"Selu", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"}
)


def check_opset(facts: Linted) -> Iterator[Finding]:
    """Yield a note if the opset is not a documented one."""
    imports = facts.model.opset_imports
    version = imports.get("", imports.get("ai.onnx", _LAST_OPSET))
    if not _FIRST_OPSET <= version <= _LAST_OPSET:
        fix = f"export with an opset from {_FIRST_OPSET} to {_LAST_OPSET}"
        yield Finding(OPSET, "", f"opset {version}", fix)


def check_output_pairs(facts: Linted) -> Iterator[Finding]:
    """Yield pairs right behind a product that an activation reads, or nothing."""
    for quantize in facts.of("QuantizeLinear"):
        source = quantize.inputs[0]
        maker = None if source is None else source.producer()
        if maker is None or maker.op_type not in PRODUCT_OPS:
            continue
        for reader in {use.node for use in quantize.outputs[0].uses()}:
            if reader.op_type == "DequantizeLinear" and _only_rounds(reader):
                message = f"rounds the output of {maker.op_type} for no product"
                fix = "quantise the inputs of products only"
                yield found(OUTPUT_PAIR, quantize, message, fix)


def _only_rounds(dq: ir.Node) -> bool:
    output = dq.outputs[0]
    readers = [use.node.op_type for use in output.uses()]
    return all(op in _ACTIVATIONS for op in readers) and bool(readers or output.is_graph_output())


CHECKS: tuple[Check, ...] = (check_opset, check_output_pairs)
