from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.optimizer.arithmetic.polynomials import Polynomial, Reading, leaves, resembles
from tests.rewriting import parse

_C = "float two = {2}, float three = {3}, float zero = {0}, float[2] pair = {1, 2}"


def _read(body: str) -> tuple[Polynomial | None, Reading]:
    model = parse(f"g (float[2] x, float[2] e) => (float[2] y) <{_C}> {{ {body} }}")
    reading = Reading(model.graph, list(model.graph.inputs))
    return reading.of(model.graph.outputs[0]), reading


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("a = Add(x, two) y = Mul(a, e)", {(1, 1): 1.0, (0, 1): 2.0}),
        ("a = Sub(two, x) y = Div(a, two)", {(0, 0): 1.0, (1, 0): -0.5}),
        ("a = Add(x, e) y = Pow(a, two)", {(2, 0): 1.0, (1, 1): 2.0, (0, 2): 1.0}),
        ("a = Neg(x) y = Pow(a, three)", {(3, 0): -1.0}),
        ("a = Identity(x) y = Sub(a, x)", {(1, 0): 0.0}),
    ],
)
def test_reads(body: str, wanted: Polynomial) -> None:
    assert _read(body)[0] == wanted


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu(x)",
        "y = Div(x, e)",
        "y = Div(x, zero)",
        "y = Pow(x, e)",
        "y = Mul(x, pair)",
        " ".join(["a0 = Neg(x)", *(f"a{i + 1} = Neg(a{i})" for i in range(13)), "y = Neg(a13)"]),
    ],
)
def test_gives_up(body: str) -> None:
    assert _read(body)[0] is None


def test_names_the_nodes_it_read() -> None:
    _, reading = _read("a = Add(x, two) b = Relu(a) y = Mul(a, e)")
    assert {node.op_type for node in reading.nodes} == {"Add", "Mul"}


def test_resembles_within_the_type() -> None:
    read: Polynomial = {(1,): 0.5002, (0,): 0.0}
    assert resembles(read, {(1,): 0.5}, ir.DataType.FLOAT16)
    assert not resembles(read, {(1,): 0.5}, ir.DataType.FLOAT)
    assert not resembles(read, {(2,): 0.5}, ir.DataType.FLOAT16)


def test_leaves_are_nearest_first() -> None:
    model = parse(f"g (float[2] x) => (float[2] y) <{_C}> {{ a = Mul(x, two) y = Add(a, two) }}")
    assert [value.name for value in leaves(model.graph.outputs[0])] == ["a", "x"]
