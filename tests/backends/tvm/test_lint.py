"""What the linter for TVM finds."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from bmopt.backends.tvm import lint as linter
from bmopt.backends.tvm.imported_ops import RUNTIME, STANDARD
from bmopt.backends.tvm.importing import supported_ops
from bmopt.backends.tvm.lint import RULES, lint
from bmopt.core.target import Target
from bmopt.workflow.linting import lint_file
from tests.backends.tvm.installed import needs_tvm
from tests.rewriting import parse

TARGET = Target.parse("tvm-int8")


def _found(text: str, opset: int = 17) -> list[tuple[str, str]]:
    return [(one.rule.id, one.message) for one in lint(parse("g " + text, opset), TARGET)]


def test_rules_are_in_order() -> None:
    assert [rule.id for rule in RULES] == sorted({rule.id for rule in RULES})


def test_a_plain_model_has_nothing() -> None:
    text = (
        "(float[N, 3, 8, 8] x, float[4, 3, 3, 3] w) => (float[N, 4, 6, 6] y) { y = Conv (x, w) }"
    )
    assert _found(text) == []


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        ("(float[2, 3] x) => (float[2, 3] y) { y = Det (x) }", "TVM001", "importer has no Det"),
        (
            "(float[2, 3] x) => (float[2, 3] y) { y = com.microsoft.Inverse (x) }",
            "TVM001",
            "importer has no com.microsoft.Inverse",
        ),
        (
            (
                "(float[1, 2, 4, 4] x) => (float[1, 2, 2, 2] y, int64[1, 2, 2, 2] i) "
                "{ y, i = MaxPool <kernel_shape = [3, 3]> (x) }"
            ),
            "TVM003",
            "gives indices",
        ),
        (
            "(float[2, 3] x, int64[1] k) => (float[2, K] y, int64[2, K] i) { y, i = TopK (x, k) }",
            "TVM003",
            "numbers of elements that are computed",
        ),
        (
            (
                "(float[N, 3, H, W] x, float[4, 3, 3, 3] w) => (float[N, 4, a, b] y) "
                "{ y = Conv (x, w) }"
            ),
            "TVM102",
            "reads Nx3xHxW",
        ),
    ],
)
def test_findings(text: str, rule: str, said: str) -> None:
    ((found, message),) = _found(text)
    assert found == rule
    assert said in message


def test_a_branch_is_noted() -> None:
    text = """(bool c, float[2] x) => (float[2] y) {
      y = If (c) <then_branch = a () => (float[2] p) { p = Relu (x) },
                  else_branch = b () => (float[2] q) { q = Abs (x) }>
    }"""
    assert [rule for rule, _ in _found(text)] == ["TVM101"]


def test_inputs_have_a_rank() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    model.graph.inputs[0].shape = None
    assert [one.rule for one in lint(model, TARGET)] == [linter.INPUT]


def _saved(text: str, folder: Path, opset: int = 17) -> Path:
    path = folder / "model.onnx"
    onnx.save(ir.to_proto(parse(text, opset)), str(path))
    return path


def test_what_passes_write_out_is_no_finding(tmp_path: Path) -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { y = Celu (x) }"
    assert lint_file(_saved(text, tmp_path), "tvm-fp32").findings == ()


def test_what_they_refuse_has_the_reason(tmp_path: Path) -> None:
    text = (
        "g (float[T, 1, 2] x, float[1, 3, 2] w, float[1, 3, 3] r) => (float[T, 1, 1, 3] y) "
        "{ y = RNN <hidden_size = 3> (x, w, r) }"
    )
    (found,) = lint_file(_saved(text, tmp_path), "tvm-fp32:cortex-a53").findings
    assert found.rule is linter.OP
    assert found.message == (
        "TVM's importer has no RNN, and it has an unknown number of steps; fix it with --shapes"
    )


@needs_tvm
def test_the_list_is_that_of_the_installed_importer() -> None:
    installed = supported_ops()
    assert installed >= STANDARD | RUNTIME
    left_out = installed - STANDARD - RUNTIME
    assert left_out == {"AllClassNMS", "NonMaxSuppression"}
