"""Files in, findings out."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from bmopt.errors import ArtifactError, ModelError, TargetError, UsageError
from bmopt.workflow.linting import LintReport, lint_file
from tests.backends.nvinfer.rule_cases import CASES


def saved(case: str, path: Path) -> Path:
    onnx.save(ir.to_proto(CASES[case].model()), str(path))
    return path


def test_report_has_the_file_the_target_and_the_findings(tmp_path: Path) -> None:
    path = saved("deconvolution-axis-0", tmp_path / "m.onnx")
    report = lint_file(path, "rtx-int8:sm89")
    assert isinstance(report, LintReport)
    assert (report.model, report.target) == (path, "rtx-int8:sm89")
    assert [finding.rule.id for finding in report.findings] == ["TRT104", "TRT110"]
    assert report.counts == {"error": 0, "warning": 2, "note": 0}


def test_folder_stands_for_its_model(tmp_path: Path) -> None:
    path = saved("det", tmp_path / "model.onnx")
    report = lint_file(tmp_path, "trt-fp16")
    assert report.model == path
    assert report.counts["error"] == 1


def test_what_cannot_be_linted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no model\.onnx"):
        lint_file(tmp_path, "trt-int8")
    with pytest.raises(ModelError, match="no such file"):
        lint_file(tmp_path / "gone.onnx", "trt-int8")
    with pytest.raises(TargetError, match="unknown target"):
        lint_file(tmp_path, "trt")
    with pytest.raises(UsageError, match=r"ort-int8 has no linter.*trt-int8.*rtx-int8"):
        lint_file(tmp_path, "ort-int8")
    path = saved("conv", tmp_path / "m.onnx")
    assert lint_file(path, "ort-int8:tensorrt").findings == ()
