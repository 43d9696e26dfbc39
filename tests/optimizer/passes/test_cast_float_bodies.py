"""Sub-graphs: what If, Loop and Scan pass in and out, and values of outer scopes."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from tests.casting import plan_for, require_close
from tests.quantizing import named

FORK = """
g (bool q, float[2] x) => (float[2] y) <float[2] w = {0.5, -2}> {
  h = Exp(x)
  c = If (q) <
    then_branch = t () => (float[2] a) { a = Mul(h, w) },
    else_branch = e () => (float[2] b) <float[2] v = {1, 3}> { s = Add(h, v) b = Tanh(s) }>
  y = Neg(c)
}
"""
LOOP = """
g (float[2] x) => (float[2] y, float[N,2] z) <int64 n = {3}, bool t = {1}> {
  y, z = Loop (n, t, x) <
    body = b (int64 i, bool c, float[2] s) => (bool d, float[2] u, float[2] o)
      { d = Identity(c) u = Sin(s) o = Mul(u, x) }>
}
"""
SCAN = """
g (float[2] x, float[5,2] r) => (float[2] y, float[5,2] z) {
  y, z = Scan <num_scan_inputs = 1,
    body = b (float[2] s, float[2] e) => (float[2] u, float[2] o)
      { u = Add(s, e) o = Tanh(u) }> (x, r)
}
"""


def ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in nodes_in(model.graph)]


def test_if() -> None:
    model = named(FORK)
    copy = require_close(model, plan_for())
    assert ops(copy) == ["Cast", "Exp", "If", "Mul", "Add", "Tanh", "Neg", "Cast"]
    assert copy.graph.node("c").outputs[0].dtype == ir.DataType.FLOAT16


def test_an_if_in_float32_has_casts_at_the_ends_of_its_branches() -> None:
    copy = require_close(named(FORK), plan_for("c"))
    branches = ["Mul", "Cast", "Add", "Tanh", "Cast"]
    assert ops(copy) == ["Cast", "Exp", "If", *branches, "Cast", "Neg", "Cast"]


def test_a_float32_node_in_a_branch_reads_an_outer_value_through_one_cast() -> None:
    copy = require_close(named(FORK), plan_for("a", "s"))
    outer = [node.op_type for node in copy.graph]
    assert outer == ["Cast", "Exp", "Cast", "If", "Neg", "Cast"]
    assert ops(copy).count("Cast") == 5


def test_loop() -> None:
    copy = require_close(named(LOOP), plan_for())
    assert ops(copy) == ["Cast", "Loop", "Identity", "Sin", "Mul", "Cast", "Cast"]
    kept = require_close(named(LOOP), plan_for("y"))
    assert ops(kept)[0] == "Cast", "the body reads the outer x in half precision"
    body = kept.graph.node("y").attributes["body"].as_graph()
    assert [v.dtype for v in body.inputs] == [
        *(ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.FLOAT)
    ]


def test_scan() -> None:
    copy = require_close(named(SCAN), plan_for(), least_db=40)
    assert ops(copy) == ["Cast", "Cast", "Scan", "Add", "Tanh", "Cast", "Cast"]
    require_close(named(SCAN), plan_for("y", "u"))


def test_loop_with_everything_inside_in_float32() -> None:
    copy = require_close(named(LOOP), plan_for("y", "u", "o"))
    assert ops(copy) == ["Loop", "Identity", "Sin", "Mul"]
