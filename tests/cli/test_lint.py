"""``bmopt lint`` on real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from bmopt.cli.main import main
from bmopt.cli.sarif import sarif_document
from bmopt.core.finding import Finding, Rule
from bmopt.demo_data import demo_files
from tests.backends.nvinfer.rule_cases import CASES

FLOAT = str(demo_files().model)


def saved(case: str, path: Path = Path("m.onnx")) -> str:
    onnx.save(ir.to_proto(CASES[case].model()), str(path))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(("lint", *arguments))
    return code, capsys.readouterr().out


def test_clean_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, FLOAT) == (0, f"{FLOAT} for trt-int8: nothing found\n")


def test_table_has_rule_level_node_message_and_fix(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, saved("int32-bias"))
    lines = text.splitlines()
    assert code == 1
    assert lines[0].split() == ["rule", "level", "node", "message", "fix"]
    assert lines[1].split()[:3] == ["TRT007", "error", "b"]
    assert lines[-1] == "m.onnx for trt-int8: 1 error"


def test_warnings_fail_only_if_strict(capsys: pytest.CaptureFixture[str]) -> None:
    path = saved("float-weight")
    assert printed(capsys, path)[0] == 0
    code, text = printed(capsys, path, "--strict")
    assert code == 1
    assert text.endswith("m.onnx for trt-int8: 1 warning\n")


def test_notes_never_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, saved("float64"), "--strict")[0] == 0


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, saved("int8-zero-point-5"), "--json", "--target", "rtx-int8:sm86")
    document = json.loads(text)
    assert code == 1
    assert document["model"] == "m.onnx"
    assert document["target"] == "rtx-int8:sm86"
    assert document["counts"] == {"error": 2, "warning": 0, "note": 0}
    assert document["findings"][0] == {
        "rule": "TRT001",
        "name": "non-zero-zero-point",
        "level": "error",
        "node": "xq",
        "message": "int8 zero point 5",
        "fix": "quantise symmetrically: int8 with zero point 0",
    }


def test_artifact_folder_stands_for_its_graph(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("artifact")
    folder.mkdir()
    saved("qlinear-conv", folder / "model.onnx")
    assert printed(capsys, str(folder))[0] == 1


def test_sarif_file_points_at_rules_and_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    path = saved("deconvolution-axis-0", Path("my model.onnx"))
    code, text = printed(capsys, path, "--sarif", "out.sarif", "--target", "rtx-int8")
    assert (code, text.splitlines()[-1]) == (0, f"{path} for rtx-int8: 2 warnings")
    document = json.loads(Path("out.sarif").read_text(encoding="utf-8"))
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert document["version"] == "2.1.0"
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["TRT104", "TRT110"]
    (location,) = run["results"][0]["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "my%20model.onnx"
    assert location["logicalLocations"] == [{"name": "y", "kind": "node"}]


def test_sarif_of_a_finding_on_the_model_has_no_node(tmp_path: Path) -> None:
    rule = Rule("TRT201", "opset", "note", "Opsets are documented.")
    document = sarif_document([Finding(rule, "", "opset 8", "export again")], tmp_path / "m.onnx")
    (result,) = document["runs"][0]["results"]
    location: dict[str, Any] = result["locations"][0]
    assert "logicalLocations" not in location
    assert location["physicalLocation"]["artifactLocation"]["uri"].startswith("file:///")
    assert result["message"]["text"] == "opset 8. Fix: export again."
    assert result["level"] == "note"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((FLOAT, "--target", "ort-int8"), "ort-int8 has no linter; these have one: trt-fp32"),
        ((FLOAT, "--target", "gpu"), "unknown target"),
        (("gone.onnx",), "no such file"),
        (("empty",), "holds no model.onnx"),
        ((FLOAT, "--sarif", FLOAT), "is the model, which is never written to"),
        ((FLOAT, "--sarif", "empty"), "empty: is no regular file"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert main(("lint", *arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err
    assert output.err.count("\n") == 1
