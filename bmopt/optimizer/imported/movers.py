"""Ops that move integers without computing with them: in the float model they move floats."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import is_op
from bmopt.optimizer.imported.encodings import Encoding, refuse
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.rewrite import add_constant, fresh_name, replace_output, root_graph

_ONE = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
    }
)
_MANY = frozenset({"Concat", "Max", "Min"})
_ASKS = frozenset({"ArgMax", "ArgMin", "Shape", "Size"})
_WITH_INDICES = frozenset({"MaxPool", "TopK"})


def move_reals(ledger: Ledger, node: ir.Node) -> None:
    """Let a node that reads integers read what they stand for.

    Raises:
        QuantizationError: It computes with the integers, or joins integers of different meaning.
    """
    if is_op(node, *_ASKS):
        for index, value in enumerate(node.inputs):
            if value in ledger.lifted:
                node.replace_input_with(index, ledger.lifted[value].value)
        return
    encoding = _common_encoding(ledger, node)
    reals = [_real(ledger, node, index, encoding) for index in range(len(node.inputs))]
    if is_op(node, "Pad"):
        _pad_with_real(ledger, node, reals, encoding)
    twin = float_twin(ledger, node, node.op_type, reals, dict(node.attributes))
    for index, (old, new) in enumerate(zip(node.outputs, twin.outputs, strict=True)):
        if index and is_op(node, *_WITH_INDICES):
            replace_output(old, new)
        else:
            ledger.lift(old, new, encoding, node, written=False)


def float_twin(
    ledger: Ledger,
    node: ir.Node,
    op_type: str,
    inputs: list[ir.Value | None],
    attributes: dict[str, ir.Attr],
) -> ir.Node:
    """Insert before ``node`` the standard op that computes on reals what it does on integers.

    It takes over the node's name; ``node`` itself is to be removed.
    """
    graph = root_graph(node)
    while inputs and inputs[-1] is None:
        inputs.pop()
    twin = ir.Node(
        "",
        op_type,
        inputs,
        list(attributes.values()),
        num_outputs=len(node.outputs),
        name=node.name,
    )
    for index, (old, new) in enumerate(zip(node.outputs, twin.outputs, strict=True)):
        stem = (old.name or "").removesuffix("_quantized")
        new.name = fresh_name(graph, stem or f"{node.name}_out")
        indices = index > 0 and op_type in _WITH_INDICES
        new.type = old.type if indices else ir.TensorType(ir.DataType.FLOAT)
        new.shape = old.shape
    merge_origin(twin, [node])
    graph.insert_before(node, twin)
    ledger.done.append(node)
    return twin


def _data_indices(node: ir.Node) -> range:
    if is_op(node, *_ONE):
        return range(1)
    if is_op(node, *_MANY):
        return range(len(node.inputs))
    return range(1, 3) if is_op(node, "Where") else range(0)


def _common_encoding(ledger: Ledger, node: ir.Node) -> Encoding:
    found: Encoding | None = None
    for index, value in enumerate(node.inputs):
        if value is None or value not in ledger.lifted:
            continue
        encoding = ledger.lifted[value].encoding
        if index not in _data_indices(node) and not _is_zero_relu(node, encoding):
            raise refuse(node, "computes with integers", "quantise with Q/DQ nodes around floats")
        if found is not None and not found.agrees(encoding):
            raise refuse(
                node, "joins integers of different scales", "let its inputs share one scale"
            )
        found = encoding
    assert found is not None
    return found


def _is_zero_relu(node: ir.Node, encoding: Encoding) -> bool:
    return is_op(node, "Relu") and int(encoding.zero) == 0


def _real(ledger: Ledger, node: ir.Node, index: int, encoding: Encoding) -> ir.Value | None:
    value = node.inputs[index]
    if value is None or index not in _data_indices(node):
        return value if value not in ledger.lifted else ledger.lifted[value].value
    if value in ledger.lifted:
        return ledger.lifted[value].value
    integers = ledger.known(value)
    if integers is None:
        raise refuse(node, "joins integers of unknown scale", "quantise all its inputs")
    return ledger.constant(node, integers, encoding, f"{value.name}_real")


def _pad_with_real(
    ledger: Ledger, node: ir.Node, reals: list[ir.Value | None], encoding: Encoding
) -> None:
    """Let a Pad of integers fill in what its integer, 0 where there is none, stands for."""
    if node.attributes.get_string("mode", "constant") != "constant" or len(reals) < 2:
        return
    given = reals[2] if len(reals) > 2 else None
    integer = np.zeros((), np.int64) if given is None else ledger.known(given)
    if integer is None:
        raise refuse(node, "pads with an integer that is computed", "pad with a constant")
    real = encoding.dequantized(integer.reshape(()))
    reals[2:3] = [add_constant(root_graph(node), f"{node.name}_value", real)]
