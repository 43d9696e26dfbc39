"""How channels pass Einsum."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, is_constant, sizes_of
from bmopt.graph.channels.units import Ints


def einsum(flow: Flow, node: ir.Node) -> None:
    """Einsum of activations: channels along a letter of the output pass, joined in all operands.

    What it sums over stays, as no weight reads it.
    """
    letters = _letters(node)
    if letters is None or any(map(is_constant, node.inputs)):
        flow.keep_inputs(node)
        return
    *operands, output = letters
    found: dict[str, Ints | None] = {}
    for letter in dict.fromkeys("".join(operands)):
        found[letter] = _along(flow, node, operands, letter, is_passed=letter in output)
    flow.write(node.outputs[0], [found[letter] for letter in output])


def _letters(node: ir.Node) -> list[str] | None:
    """Return the letters of each operand and of the output; None where that is not so plain."""
    equation = node.attributes["equation"].as_string().replace(" ", "")
    left, arrow, output = equation.partition("->")
    operands = left.split(",")
    ranks = [len(sizes_of(value)) for value in node.inputs]
    is_plain = arrow and "." not in equation and list(map(len, operands)) == ranks
    if not is_plain or any(len(set(one)) != len(one) for one in operands):
        return None
    return [*operands, output]


def _along(
    flow: Flow, node: ir.Node, operands: list[str], letter: str, *, is_passed: bool
) -> Ints | None:
    rows = [
        flow.at(value, one.index(letter))
        for value, one in zip(node.inputs, operands, strict=True)
        if letter in one
    ]
    first = rows[0]
    if is_passed and first is not None:
        same = [row for row in rows if row is not None and len(row) == len(first)]
        if len(same) == len(rows):
            for row in same:
                flow.units.join(first, row)
            return first
    for units in rows:
        flow.keep(units, f"Einsum {node.name!r} sums over it or multiplies it with what stays")
    return None
