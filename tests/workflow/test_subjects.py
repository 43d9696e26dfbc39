from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bmopt.core.digest import of_json
from bmopt.errors import ArtifactError, BmoptError, HostError, ModelError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.workflow.artifact import read_manifest
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.subjects import open_subject
from tests.graph.model_files import proto_of, put_outside, write
from tests.workflow.demo_runs import DEMO, images


def test_a_model_file() -> None:
    with open_subject(str(DEMO.model), threads=1) as found:
        assert (found.name, found.kind, found.target) == ("digits.onnx", "onnx", "ort")
        assert found.digest == model_digest(load_model(DEMO.model))
        assert found.size_bytes == DEMO.model.stat().st_size
        assert [(spec.name, spec.dtype) for spec in found.inputs] == [("image", "float32")]
        assert found.graph == DEMO.model
        assert found.runner.run({"image": images(2)})["logits"].shape == (2, 10)


def test_an_engine_and_its_file() -> None:
    with open_subject(f"ort:{DEMO.model}") as found:
        assert (found.name, found.kind) == ("ort:digits.onnx", "engine")
        assert found.path == DEMO.model


def test_a_path_that_exists_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEMO.model, "ort:m.onnx")
    with open_subject("ort:m.onnx") as found:
        assert (found.kind, found.name) == ("onnx", "ort:m.onnx")


def test_an_artifact(demo: CompileResult) -> None:
    with open_subject(str(demo.artifact), any_host=True) as found:
        assert (found.kind, found.name) == ("artifact", "artifact")
        assert found.target == "ort-int8:x86-vnni"
        assert found.digest == of_json(read_manifest(demo.artifact)["files"])
        assert found.size_bytes == (demo.artifact / "model.onnx").stat().st_size
        assert found.graph == demo.artifact / "model.onnx"
        assert set(found.runner.run({"image": images(1)})) == {"logits"}


def test_external_data_counts(tmp_path: Path) -> None:
    weights = {"w": np.arange(64, dtype=np.float32)}
    proto = proto_of("g (float[64] x) => (float[64] y) { y = Add(x, w) }", weights)
    put_outside(proto, tmp_path)
    path = write(tmp_path / "m.onnx", proto)
    with open_subject(str(path)) as found:
        assert found.size_bytes == path.stat().st_size + 256


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("none.onnx", ModelError, r"none\.onnx: no such file"),
        ("ort:none.onnx", ModelError, r"none\.onnx: no such file"),
        ("none", UsageError, r"none: no such file or folder; give an artifact folder, an \.onnx"),
        ("tvm:m.onnx", UsageError, r"no engine 'tvm'; engines are ort"),
        ("ort:m.xml", UsageError, r"ort runs \.onnx files"),
        ("text.txt", UsageError, r"text\.txt: is no model"),
        ("folder", ArtifactError, r"folder: is no bmopt artifact"),
        ("", ArtifactError, r"is no bmopt artifact"),
    ],
)
def test_what_is_no_model_is_refused(
    text: str,
    error: type[BmoptError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text.txt").write_text("x")
    with pytest.raises(error, match=message) as caught:
        open_subject(text)
    assert "\n" not in str(caught.value)


def test_an_artifact_for_another_host_needs_to_be_asked_for(
    demo: CompileResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bmopt.backends.onnxruntime.backend.runs_on", lambda device, host: "not this processor"
    )
    with pytest.raises(HostError, match="not this processor"):
        open_subject(str(demo.artifact))
    with open_subject(str(demo.artifact), any_host=True) as found:
        assert found.runner.output_names == ("logits",)
