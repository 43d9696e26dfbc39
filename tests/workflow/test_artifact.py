from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import bmopt
from bmopt.backends.onnxruntime import backend
from bmopt.core.runner import Array, Feeds
from bmopt.errors import ArtifactError, DataError, HostError
from bmopt.workflow.artifact import load_artifact, read_manifest, write_golden, write_report
from bmopt.workflow.compiling import CompileResult
from tests.backends.fake_hosts import host
from tests.workflow.demo_runs import images


@pytest.fixture
def copy(demo: CompileResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.artifact, tmp_path / "copy"))


def test_an_artifact_runs(demo: CompileResult) -> None:
    with bmopt.load(demo.artifact, any_host=True) as artifact:
        answer = artifact.run({"image": images(3)})
        assert answer["logits"].shape == (3, 10)
        assert artifact.manifest["target"] == "ort-int8:x86-vnni"
        assert artifact.report is not None
        assert artifact.report["accuracy"]["metric"] == "top1"
        with pytest.raises(DataError):
            artifact.run({"image": images(3)[0]})


def test_an_artifact_is_plain_onnx(demo: CompileResult) -> None:
    path = demo.artifact / "model.onnx"
    onnx.checker.check_model(str(path), full_check=True)
    domains = {entry.domain for entry in onnx.load(path).opset_import}
    assert domains <= {"", "ai.onnx"}
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": images(3)})
    with bmopt.load(demo.artifact, any_host=True) as artifact:
        np.testing.assert_array_equal(artifact.run({"image": images(3)})["logits"], answer)


def test_golden_outputs_are_reproduced(demo: CompileResult) -> None:
    folder = demo.artifact / "golden"
    inputs = sorted(folder.glob("input_*.npz"))
    assert len(inputs) == 2
    with bmopt.load(demo.artifact, threads=1, any_host=True) as artifact:
        for path in inputs:
            answer = artifact.run(dict(np.load(path)))
            expected = np.load(path.with_name(path.name.replace("input", "output")))
            assert set(answer) == set(expected)
            for name in expected:
                np.testing.assert_array_equal(answer[name], expected[name])


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "ranges.json", "plan.json", "recipe.toml", "golden/input_0.npz"],
)
def test_a_changed_file_is_noticed(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name} was changed after it was compiled"):
        load_artifact(copy)


@pytest.mark.parametrize("name", ["model.onnx", "plan.json", "golden/output_1.npz"])
def test_a_missing_file_is_noticed(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        load_artifact(copy)


def test_another_processor_is_refused(
    demo: CompileResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_host", lambda: host("x86_64", "avx2"))
    with pytest.raises(HostError, match="made for x86-vnni, this host is x86-avx2"):
        load_artifact(demo.artifact)
    with load_artifact(demo.artifact, any_host=True) as artifact:
        assert artifact.manifest["target"] == "ort-int8:x86-vnni"


def test_the_report_may_change(copy: Path) -> None:
    write_report(copy, {"bmopt_report": 1})
    with load_artifact(copy, any_host=True) as artifact:
        assert artifact.report == {"bmopt_report": 1}
        (copy / "report.json").unlink()
        assert artifact.report is None
        for damage in ("{", "3"):
            (copy / "report.json").write_text(damage)
            with pytest.raises(ArtifactError, match="is no report"):
                assert artifact.report


def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads((path / "manifest.json").read_text())
    change(document)
    (path / "manifest.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(bmopt_artifact=99), "version 99; this bmopt reads 1"),
        (lambda d: d.pop("files"), "is no artifact manifest"),
        (lambda d: d.update(files=[]), "is no artifact manifest"),
        (lambda d: d.update(target=3), "is no artifact manifest"),
        (lambda d: d.update(target="abc"), "unknown target 'abc'"),
        (lambda d: d["files"].pop("model.onnx"), "manifest.json was changed"),
        (lambda d: d["files"].pop("plan.json"), "manifest.json was changed"),
        (lambda d: d["files"].update({"plan.json": "0" * 64}), "manifest.json was changed"),
        (lambda d: d.pop("digest"), "manifest.json was changed"),
    ],
)
def test_a_changed_manifest_is_noticed(
    copy: Path, change: Callable[[dict[str, object]], object], message: str
) -> None:
    edit(copy, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_artifact(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", "{}", "\0"])
def test_another_folder_is_no_artifact(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"no bmopt artifact|no artifact manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_another_path_is_no_artifact(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(ArtifactError, match="is no bmopt artifact"):
        load_artifact(tmp_path / name)


def test_a_manifest_says_what_it_was_made_from(demo: CompileResult) -> None:
    manifest = read_manifest(demo.artifact)
    assert manifest["source"]["file"] == "digits.onnx"
    assert manifest["pipeline"] == "fold-batch-norm"
    assert manifest["calibration"]["samples"] == 48
    assert manifest["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["N", 1, 16, 16]}]
    assert manifest["outputs"] == ["logits"]
    assert set(manifest["files"]) == {
        *("model.onnx", "ranges.json", "plan.json", "recipe.toml"),
        *(f"golden/{kind}_{i}.npz" for kind in ("input", "output") for i in range(2)),
    }
    assert "report.json" not in manifest["files"]


class Echo:
    """A runner that answers with what it is fed."""

    output_names = ("file", "a/b")

    def run(self, feeds: Feeds) -> dict[str, Array]:
        return dict(feeds)

    def __enter__(self) -> Echo:  # noqa: PYI034
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None: ...


def test_golden_arrays_may_have_any_name(tmp_path: Path) -> None:
    feeds = {"file": np.arange(3), "a/b": np.ones((2, 2)), "allow_pickle": np.array(1.5)}
    write_golden(tmp_path, Echo(), [feeds])
    for stored in ("input_0.npz", "output_0.npz"):
        found = np.load(tmp_path / "golden" / stored)
        assert set(found) == set(feeds)
        for name, array in feeds.items():
            np.testing.assert_array_equal(found[name], array)
