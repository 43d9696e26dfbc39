"""From a model to a library of TVM's and back, through the workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bmopt
from bmopt.errors import ArtifactError, BuildError
from bmopt.workflow.artifact import load_artifact, read_golden
from bmopt.workflow.building import build_artifact
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.engines import read_engine
from bmopt.workflow.recipe import Recipe
from tests.backends.tvm.installed import needs_tvm

pytestmark = needs_tvm

_DEMO = Path(bmopt.__file__).parent / "demo_data"
_DATA = {"calib": str(_DEMO / "digits_calib.npz"), "val": str(_DEMO / "digits_val.npz")}


def _compiled(out: Path, target: str, **options: Any) -> CompileResult:
    quick = {"duration_s": 0.0, "placement": "rules", "preset": "fast", **_DATA}
    return compile_model(_DEMO / "digits.onnx", Recipe(target=target, **{**quick, **options}), out)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    """The demo model for this host."""
    return _compiled(tmp_path_factory.mktemp("tvm") / "digits", "tvm-fp32")


def test_an_artifact_has_its_library(artifact: CompileResult) -> None:
    assert (artifact.artifact / "model.so").is_file()
    assert artifact.report["target"] == "tvm-fp32:host"
    assert artifact.report["accuracy"]["agreement"] == 1.0
    engine = artifact.report["engine"]
    assert (engine["engine"], engine["devices"][0]) == ("tvm", "host")
    assert not [text for text in artifact.report["warnings"] if "scheduled as TVM does" in text]


def test_it_is_loaded_and_answers(artifact: CompileResult) -> None:
    with load_artifact(artifact.artifact, threads=1) as opened:
        assert not opened.is_stand_in
        for feeds, answers in read_golden(artifact.artifact):
            for name, array in opened.run(feeds).items():
                np.testing.assert_allclose(array, answers[name], rtol=1e-4, atol=1e-4)


def test_it_is_built_again(artifact: CompileResult, tmp_path: Path) -> None:
    child = build_artifact(artifact.artifact, tmp_path / "child")
    assert child.report["latency_note"] == "only 8-bit engines of GPUs are timed beside float16"
    assert (child.artifact / "model.so").is_file()
    assert all(ratio is None or ratio > 60 for ratio in child.report["golden_sqnr_db"].values())


def test_integers_are_told_by_node(tmp_path: Path) -> None:
    result = _compiled(tmp_path / "digits", "tvm-int8")
    rows = {row["node"]: row for row in result.report["placement"]["nodes"]}
    assert {"deep_conv", "residual_add"} <= set(rows)
    built = read_engine(result.artifact)
    assert built is not None
    assert rows["deep_conv"]["kernel"] in {kernel.name for kernel in built.kernels}
    assert result.report["accuracy"]["candidate"]["top1"] > 0.98


def test_an_artifact_of_another_processor_runs_as_its_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmopt.backends.tvm.builder.compiler_for", lambda device, host: "")
    result = _compiled(tmp_path / "digits", "tvm-fp32:riscv64-rvv")
    assert result.report["accuracy"]["note"] == "of the graph on ONNX Runtime's CPU provider"
    with pytest.raises(ArtifactError, match=r"unpack model\.tar on the device and run 'g\+\+ "):
        load_artifact(result.artifact)
    with load_artifact(result.artifact, any_host=True) as opened:
        assert opened.is_stand_in
        feeds, answers = read_golden(result.artifact)[0]
        assert opened.run(feeds).keys() == answers.keys()


def test_options_of_other_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="TVM has no option like --level; leave it out"):
        _compiled(tmp_path / "digits", "tvm-fp32", level=3)
    assert not (tmp_path / "digits").exists()
