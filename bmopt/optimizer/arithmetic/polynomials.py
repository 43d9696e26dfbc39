"""Arithmetic with constant numbers, read as a polynomial in given values.

``x * 0.5 * (1 + erf(...))`` is written in a dozen orders by exporters; as a polynomial in ``x``
and the erf's output they are all ``0.5 x + 0.5 x e``.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.values import constant_scalar, is_op
from bmopt.optimizer.arithmetic.patterns import is_near, keeps_rank

Monomial = tuple[int, ...]
Polynomial = dict[Monomial, float]
"""Powers of the symbols, in the order they were given, -> coefficient."""

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Neg", "Pow", "Identity")
_MAX_NODES = 12


@dataclasses.dataclass
class Reading:
    """One reading of an expression.

    Attributes:
        graph: The graph whose nodes are read; other graphs' values are not looked into.
        symbols: The values that count as variables.
        nodes: The nodes that were read, in no order.
    """

    graph: ir.Graph
    symbols: Sequence[ir.Value]
    nodes: set[ir.Node] = dataclasses.field(default_factory=set)

    def of(self, value: ir.Value | None) -> Polynomial | None:
        """Return ``value`` as a polynomial in the symbols, None where it is not one."""
        if value is None:
            return None
        for index, symbol in enumerate(self.symbols):
            if value is symbol:
                return {_unit(index, len(self.symbols)): 1.0}
        number = constant_scalar(value)
        if number is not None and keeps_rank(self.symbols[0], value):
            return {(0,) * len(self.symbols): number}
        node = value.producer()
        if node is None or not is_op(node, *ARITHMETIC) or node.graph is not self.graph:
            return None
        self.nodes.add(node)
        if len(self.nodes) > _MAX_NODES:
            return None
        return self._computed(node)

    def _computed(self, node: ir.Node) -> Polynomial | None:
        operands: list[Polynomial] = []
        for value in node.inputs:
            operand = self.of(value)
            if operand is None:
                return None
            operands.append(operand)
        return _combine(node.op_type, operands)


def resembles(
    polynomial: Polynomial | None, wanted: Mapping[Monomial, float], dtype: ir.DataType | None
) -> bool:
    """Whether both have the same terms with coefficients that are near each other."""
    if polynomial is None:
        return False
    terms = {powers: number for powers, number in polynomial.items() if number != 0}
    return terms.keys() == wanted.keys() and all(
        is_near(number, wanted[powers], dtype) for powers, number in terms.items()
    )


def leaves(value: ir.Value) -> list[ir.Value]:
    """Return the values an expression may be a polynomial in, nearest to ``value`` first."""
    found: dict[ir.Value, None] = {}
    queue, nodes = [value], 0
    while queue and nodes < _MAX_NODES:
        node = queue.pop(0).producer()
        if node is None or not is_op(node, *ARITHMETIC):
            continue
        nodes += 1
        inputs = [v for v in node.inputs if v is not None and constant_scalar(v) is None]
        found.update(dict.fromkeys(inputs))
        queue.extend(inputs)
    return list(found)


def _unit(index: int, size: int) -> Monomial:
    return tuple(int(i == index) for i in range(size))


def _combine(op_type: str, operands: list[Polynomial]) -> Polynomial | None:
    first, last = operands[0], operands[-1]
    if op_type == "Identity":
        return first
    if op_type == "Neg":
        return _scaled(first, -1.0)
    if op_type == "Add":
        return _sum(first, last)
    if op_type == "Sub":
        return _sum(first, _scaled(last, -1.0))
    if op_type == "Mul":
        return _product(first, last)
    return _by_number(op_type, first, _number(last))


def _by_number(op_type: str, first: Polynomial, number: float | None) -> Polynomial | None:
    if number is None or number == 0:
        return None
    if op_type == "Div":
        return _scaled(first, 1.0 / number)
    if number not in (2.0, 3.0):
        return None
    square = _product(first, first)
    return square if number == 2.0 else _product(square, first)


def _number(polynomial: Polynomial) -> float | None:
    constant = [value for powers, value in polynomial.items() if not any(powers)]
    return constant[0] if len(polynomial) == 1 and constant else None


def _scaled(polynomial: Polynomial, factor: float) -> Polynomial:
    return {powers: number * factor for powers, number in polynomial.items()}


def _sum(first: Polynomial, second: Polynomial) -> Polynomial:
    total = dict(first)
    for powers, number in second.items():
        total[powers] = total.get(powers, 0.0) + number
    return total


def _product(first: Polynomial, second: Polynomial) -> Polynomial:
    total: Polynomial = {}
    for (p, a), (q, b) in itertools.product(first.items(), second.items()):
        powers = tuple(i + j for i, j in zip(p, q, strict=True))
        total[powers] = total.get(powers, 0.0) + a * b
    return total
