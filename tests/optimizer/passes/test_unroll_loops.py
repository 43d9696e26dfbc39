"""Loops written out, against ONNX Runtime's own."""

from __future__ import annotations

import pytest

from bmopt.optimizer.passes.unroll_loops import UnrollLoops
from tests.rewriting import check_pass, parse

_LOOP = """
g (float[2, 3] x) => (float[2, 3] y, float[K, 2, 3] all)
<int64 many = {{{many}}}, bool go = {{{go}}}> {{
  y, all = Loop <body = turn (int64 i, bool go_in, float[2, 3] a) => (bool go_out, float[2, 3] b, float[2, 3] s) {{
    f = Cast <to = 1> (i)
    c = Add (a, f)
    b = Mul (c, x)
    s = Identity (c)
    {go_out}
  }}> (many, go, x)
}}
"""  # noqa: E501 - text of a graph


def _ops(model: object) -> set[str]:
    return {node.op_type for node in model.graph.all_nodes()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("many", [1, 3])
def test_turns_are_written_out(many: int) -> None:
    model = parse(_LOOP.format(many=many, go=1, go_out="go_out = Identity (go_in)"))
    assert check_pass(UnrollLoops(), model).modified
    assert "Loop" not in _ops(model)
    assert sum(node.op_type == "Mul" for node in model.graph) == many


def test_a_condition_that_is_constant() -> None:
    text = _LOOP.format(many=2, go=1, go_out="go_out = Constant <value = bool {1}> ()")
    model = parse(text)
    assert check_pass(UnrollLoops(), model).modified


@pytest.mark.parametrize(
    ("many", "go", "go_out", "reason"),
    [
        (200, 1, "go_out = Identity (go_in)", "200 turns, more than 128"),
        (2, 1, "go_out = Not (go_in)", "may end"),
        (2, 0, "go_out = Identity (go_in)", "no turn computes"),
        (2, 1, "go_out = Constant <value = bool {0}> ()", "may end"),
    ],
)
def test_refused_with_a_reason(many: int, go: int, go_out: str, reason: str) -> None:
    outcome = check_pass(UnrollLoops(), parse(_LOOP.format(many=many, go=go, go_out=go_out)))
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason


def test_a_number_of_turns_that_is_computed() -> None:
    text = """
    g (float[2] x, int64 many) => (float[2] y) <bool go = {1}> {
      y = Loop <body = turn (int64 i, bool go_in, float[2] a) => (bool go_out, float[2] b) {
        b = Add (a, x)
        go_out = Identity (go_in)
      }> (many, go, x)
    }
    """
    outcome = check_pass(UnrollLoops(), parse(text))
    assert "computed" in outcome.refusals[0].reason


def test_a_state_that_is_passed_through_and_a_loop_in_a_loop() -> None:
    text = """
    g (float[2] x) => (float[2] y, float[2] z) <int64 many = {2}, bool go = {1}> {
      y, z = Loop <body = turn (int64 i, bool in1, float[2] a, float[2] b) => (bool out1, float[2] c, float[2] b1) {
        b1 = Identity (b)
        out1 = Identity (in1)
        c = Loop <body = inner (int64 j, bool in2, float[2] d) => (bool out2, float[2] e) {
          e = Add (d, b)
          out2 = Identity (in2)
        }> (many, go, a)
      }> (many, go, x, x)
    }
    """  # noqa: E501 - text of a graph
    model = parse(text)
    assert check_pass(UnrollLoops(), model).modified
    assert _ops(model) <= {"Add", "Identity"}


@pytest.mark.parametrize(
    "options", ["", "scan_input_directions = [1],", "scan_output_directions = [1],"]
)
def test_scan(options: str) -> None:
    text = f"""
    g (float[2] s, float[4, 2] x) => (float[2] t, float[4, 2] y) {{
      t, y = Scan <num_scan_inputs = 1, {options} body = turn (float[2] a, float[2] b) => (float[2] c, float[2] d) {{
        c = Add (a, b)
        d = Mul (a, b)
      }}> (s, x)
    }}
    """  # noqa: E501 - text of a graph
    model = parse(text)
    assert check_pass(UnrollLoops(), model).modified
    assert "Scan" not in _ops(model)


def test_scan_along_other_axes() -> None:
    text = """
    g (float[2] s, float[2, 4] x) => (float[2] t, float[2, 4] y) {
      t, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],
        body = turn (float[2] a, float[2] b) => (float[2] c, float[2] d) {
        c = Add (a, b)
        d = Mul (a, b)
      }> (s, x)
    }
    """
    assert check_pass(UnrollLoops(), parse(text)).modified
