"""The serving formats of an artifact that was compiled."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bmopt.bundle import native as native_part
from bmopt.bundle.formats.serving import FORMATS
from bmopt.errors import BmoptError, BundleError, UsageError
from bmopt.workflow.artifact import read_golden, read_manifest
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.packaging import PackageOptions
from bmopt.workflow.packaging_formats import package_as
from tests.bundle.native_double import X86, install_stubs
from tests.workflow.demo_runs import compile_demo, content

OPTIONS = PackageOptions(platform=X86)
LABELS = "".join(f"digit {index}\n" for index in range(10))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return compile_demo(tmp_path_factory.mktemp("demo") / "artifact")


@pytest.fixture(autouse=True)
def no_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formats for Python and for other servers do without the native runner."""
    monkeypatch.setattr(native_part, "installed_folder", lambda: tmp_path / "nothing")


def test_triton_serves_the_compiled_graph_as_it_is(demo: CompileResult, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text(LABELS)
    options = dataclasses.replace(OPTIONS, labels=labels, name="digits")
    written = package_as("triton", [demo.artifact], options, tmp_path / "repository")
    folder = tmp_path / "repository/digits"
    model = (folder / "1/model.onnx").read_bytes()
    assert model == (demo.artifact / "model.onnx").read_bytes()
    assert (folder / "labels.txt").read_text() == LABELS
    text = (folder / "config.pbtxt").read_text()
    assert "avx512_vnni or avx_vnni" in text
    assert 'label_filename: "labels.txt"' in text
    marker = json.loads((tmp_path / "repository/manifest.json").read_text())
    assert marker["format"] == "triton"
    assert marker["models"][0]["digest"] == read_manifest(demo.artifact)["digest"]
    assert written.size_bytes == sum(map(len, content(tmp_path / "repository").values()))


def test_torchserve_prepares_pictures_as_the_samples_were(
    demo: CompileResult, tmp_path: Path
) -> None:
    package_as("torchserve", [demo.artifact], OPTIONS, tmp_path / "net.mar")
    with zipfile.ZipFile(tmp_path / "net.mar") as archive:
        facts = json.loads(archive.read("serving.json"))
    assert facts["preprocess"]["channels"] == "GRAY"
    assert facts["preprocess"]["scale"] == pytest.approx(1 / 255)
    assert facts["needs_cpu"] == [["avx512_vnni", "avx_vnni"]]


def test_ort_answers_as_recorded(demo: CompileResult, tmp_path: Path) -> None:
    package_as("ort", [demo.artifact], OPTIONS, tmp_path / "reduced")
    session = ort.InferenceSession(tmp_path / "reduced/model.ort")
    names = [output.name for output in session.get_outputs()]
    for feeds, answers in read_golden(demo.artifact):
        for name, found in zip(names, session.run(names, feeds), strict=True):
            np.testing.assert_allclose(found, answers[name], atol=1e-4)
    operators = (tmp_path / "reduced/required_operators.config").read_text()
    assert "QLinearConv" in operators


def test_oci_takes_the_runner(
    demo: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BmoptError, match="make runner"):
        package_as("oci", [demo.artifact], OPTIONS, tmp_path / "context")
    install_stubs(tmp_path / "installed", monkeypatch)
    package_as("oci", [demo.artifact], OPTIONS, tmp_path / "context")
    bundle = tmp_path / "context/bundle"
    assert (bundle / "lib/libonnxruntime.so.1").is_file()
    assert (bundle / "smoke_test").stat().st_mode & 0o111
    assert (bundle / "SHA256SUMS").is_file()


@pytest.mark.parametrize("kind", ["triton", "torchserve", "mlflow"])
def test_same_artifact_same_bytes(demo: CompileResult, tmp_path: Path, kind: str) -> None:
    suffix = FORMATS[kind].suffix
    outs = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for out in outs:
        package_as(kind, [demo.artifact], OPTIONS, out)
    first, second = (out.read_bytes() if out.is_file() else content(out) for out in outs)
    assert first == second


def test_options_that_are_not_for_a_format(demo: CompileResult, tmp_path: Path) -> None:
    for changes, option in (
        ({"is_slim": True}, "--slim"),
        ({"key": tmp_path / "key.pem"}, "--sign"),
        ({"runtime": tmp_path / "ort.whl"}, "--runtime"),
    ):
        options = dataclasses.replace(OPTIONS, **changes)
        with pytest.raises(UsageError, match=option):
            package_as("triton", [demo.artifact], options, tmp_path / "out")
    with pytest.raises(UsageError, match="valid are native, triton"):
        package_as("keras", [demo.artifact], OPTIONS, tmp_path / "out")
    arm = dataclasses.replace(OPTIONS, platform="aarch64-linux")
    with pytest.raises(BundleError, match="compile for"):
        package_as("triton", [demo.artifact], arm, tmp_path / "out")
    assert not (tmp_path / "out").exists()
