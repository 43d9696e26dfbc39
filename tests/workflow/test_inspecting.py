from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.errors import ArtifactError
from bmopt.workflow.artifact import read_report
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.inspecting import inspect_artifact
from bmopt.workflow.recipe import Recipe
from tests.backends.tvm.installed import needs_tvm
from tests.workflow.demo_runs import DEMO


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model as a library of TVM's, timed."""
    out = tmp_path_factory.mktemp("tvm") / "digits"
    compile_model(DEMO.model, Recipe(target="tvm-fp32", duration_s=0.2), out)
    return out


@needs_tvm
def test_functions_of_a_library_are_told_with_schedules_and_times(library: Path) -> None:
    facts = inspect_artifact(library)
    assert facts.target == "tvm-fp32:host"
    assert facts.engine.startswith("tvm ")
    assert facts.size_bytes == (library / "model.so").stat().st_size
    assert all(kernel.schedule for kernel in facts.kernels)
    assert any((kernel.ns or 0) > 0 for kernel in facts.kernels)
    assert {"stem_conv"} <= {node for kernel in facts.kernels for node in kernel.nodes}
    report = read_report(library)
    assert report is not None
    assert [row["function"] for row in report["functions"]] == [k.name for k in facts.kernels]
    assert {row["dtype"] for row in report["functions"]} == {"float"}


@needs_tvm
def test_they_are_printed(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(library)]) == 0
    printed = capsys.readouterr().out
    assert "artifact for tvm-fp32:host" in printed
    assert "conv-" in printed
    assert "stem_conv" in printed
    assert main(["inspect", str(library), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kernels"][0].keys() == {"name", "nodes", "reads", "writes", "schedule", "ns"}


def test_an_artifact_without_an_engine_says_so(
    demo: CompileResult, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect_artifact(demo.artifact).kernels == ()
    assert main(["inspect", str(demo.artifact)]) == 0
    assert "its graph is run as it is" in capsys.readouterr().out


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is no bmopt artifact"):
        inspect_artifact(tmp_path)
