"""``bmopt package``: real artifacts into bundles; the native runner is stubs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.nvinfer.backend import NvinferBackend
from bmopt.backends.tvm import probe as tvm
from bmopt.bundle.manifest_json import from_json, read_manifest
from bmopt.bundle.native import own_platform
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, BundleError, OutputError
from bmopt.workflow import packing_model
from bmopt.workflow.artifact import read_golden
from bmopt.workflow.artifact import read_manifest as read_artifact
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.packaging import Package, PackageOptions, package
from bmopt.workflow.packed_artifact import Packed
from bmopt.workflow.progress import Quiet
from tests.bundle.bundles import write_key
from tests.bundle.native_double import ARM, X86, install_stubs
from tests.bundle.test_runtime_libraries import write_wheel
from tests.workflow.demo_runs import compile_demo, content

SLIM = PackageOptions(X86, is_slim=True)


@pytest.fixture(autouse=True)
def native(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_stubs(tmp_path / "installed", monkeypatch)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Artifacts of the demo's model for other targets; tests only read them."""
    targets = ("ort-fp32", "ort-int8:arm64-dotprod", "trt-int8", "trt-fp16")
    folder = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMOPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield {
            target: compile_demo(folder / target.replace(":", "-"), target=target).artifact
            for target in targets
        }


def packed(artifact: Path, out: Path, **changes: Any) -> Package:
    return package([artifact], dataclasses.replace(SLIM, **changes), out)


def test_a_bundle_has_the_model_and_what_was_recorded(demo: CompileResult, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    found = packed(demo.artifact, out)
    (model,) = found.manifest.models
    assert read_manifest(out) == found.manifest
    assert (out / model.file).read_bytes() == (demo.artifact / "model.onnx").read_bytes()
    assert model.digest == read_artifact(demo.artifact)["digest"]
    for pair, (feeds, outputs) in zip(model.golden, read_golden(demo.artifact), strict=True):
        for tensor in pair.inputs:
            assert np.array_equal(np.load(out / tensor.file), feeds[tensor.name])
        for tensor in pair.outputs:
            assert np.array_equal(np.load(out / tensor.file), outputs[tensor.name])
    assert found.size_bytes == sum(len(data) for data in content(out).values())


def test_the_manifest_says_where_the_model_is_from_and_what_it_needs(
    demo: CompileResult, tmp_path: Path
) -> None:
    manifest = packed(demo.artifact, tmp_path / "bundle").manifest
    (model,) = manifest.models
    assert (manifest.name, manifest.platform) == ("digits", X86)
    assert (model.name, model.engine) == ("ort-int8-x86-vnni", "onnxruntime")
    assert model.needs.cpu == (("avx512_vnni", "avx_vnni"),)
    assert model.source is not None
    assert model.source.file == "digits.onnx"
    assert model.calibration is not None
    assert model.calibration.samples == 48
    assert model.accuracy is not None
    assert (model.accuracy.metric, model.accuracy.samples) == ("top1", 100)
    assert "digits_val.npz" in model.accuracy.how
    assert model.inputs[0].shape == (-1, 1, 16, 16)
    assert (model.inputs[0].layout, model.inputs[0].axes[0]) == ("NCHW", "N")
    assert model.inputs[0].range is not None


def test_preprocessing_is_that_of_the_samples_with_all_that_was_inferred(
    demo: CompileResult, tmp_path: Path
) -> None:
    assert packed(demo.artifact, tmp_path / "bundle").manifest.preprocess == {
        "input": "image",
        "scale": pytest.approx(1 / 255),
        "mean": [0.3],
        "std": [0.35],
        "channels": "GRAY",
        "layout": "NCHW",
        "dtype": "float32",
    }


@pytest.mark.parametrize("suffix", ["", ".tar.zst", ".tar.gz", ".zip"])
def test_the_same_artifact_gives_the_same_bytes(
    suffix: str, demo: CompileResult, tmp_path: Path
) -> None:
    outs = [tmp_path / f"{name}{suffix}" for name in ("first", "second")]
    for out in outs:
        packed(demo.artifact, out)
    if suffix:
        assert outs[0].read_bytes() == outs[1].read_bytes()
    else:
        assert content(outs[0]) == content(outs[1])


def test_nothing_of_this_machine_is_in_the_manifest(demo: CompileResult, tmp_path: Path) -> None:
    packed(demo.artifact, tmp_path / "bundle")
    text = (tmp_path / "bundle/manifest.json").read_text()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert str(demo.artifact.parent) not in text


def test_without_out_the_archive_is_named_after_model_and_platform(
    demo: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert package([demo.artifact], SLIM).path == Path(f"digits.{X86}.tar.zst")
    assert Path(f"digits.{X86}.tar.zst").is_file()


@pytest.mark.skipif(own_platform() != X86, reason="the demo's artifact is for x86-64")
def test_the_runtime_goes_in_with_its_licences_unless_slim(
    demo: CompileResult, tmp_path: Path
) -> None:
    whole = packed(demo.artifact, tmp_path / "whole", is_slim=False).manifest.files
    slim = packed(demo.artifact, tmp_path / "slim").manifest.files
    assert set(whole) - set(slim) == {
        "lib/libonnxruntime.so.1",
        "LICENSES/onnxruntime/LICENSE",
        "LICENSES/onnxruntime/ThirdPartyNotices.txt",
    }


def test_the_runtime_of_another_platform_comes_from_its_wheel(
    others: dict[str, Path], tmp_path: Path
) -> None:
    options = PackageOptions(ARM, runtime=write_wheel(tmp_path / "ort.whl", ARM))
    out = tmp_path / "bundle"
    package([others["ort-int8:arm64-dotprod"], others["ort-fp32"]], options, out)
    assert (out / "lib/libonnxruntime.so.1").is_file()
    first, second = read_manifest(out).models
    assert (first.needs.cpu, second.needs.cpu) == ((("asimddp",),), ())


def test_artifacts_are_in_the_order_given_each_under_its_own_name(
    demo: CompileResult, others: dict[str, Path], tmp_path: Path
) -> None:
    artifacts = [others["trt-int8"], demo.artifact, demo.artifact, others["ort-fp32"]]
    models = package(artifacts, SLIM, tmp_path / "bundle").manifest.models
    names = ["trt-int8", "ort-int8-x86-vnni", "ort-int8-x86-vnni-2", "ort-fp32"]
    assert [model.name for model in models] == names


@pytest.mark.parametrize(
    ("target", "platform", "advice"),
    [
        ("ort-int8:arm64-dotprod", X86, "compile for ort-int8:x86-vnni"),
        ("ort-int8:x86-vnni", ARM, "compile for ort-int8:arm64-dotprod"),
    ],
)
def test_artifacts_for_another_platform_are_refused(
    target: str,
    platform: str,
    advice: str,
    demo: CompileResult,
    others: dict[str, Path],
    tmp_path: Path,
) -> None:
    artifact = {**others, "ort-int8:x86-vnni": demo.artifact}[target]
    with pytest.raises(BundleError, match=advice):
        packed(artifact, tmp_path / "bundle", platform=platform)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.skipif(
    NvinferBackend("trt").probe(Target.parse("trt-int8")).build, reason="engines are built here"
)
def test_a_graph_whose_engine_is_built_on_the_device(
    others: dict[str, Path], tmp_path: Path
) -> None:
    progress = Quiet()
    out = tmp_path / "bundle"
    (model,) = package([others["trt-int8"]], SLIM, out, progress).manifest.models
    assert model.file.endswith("model.onnx")
    assert (model.needs.runtime.name, model.needs.runtime.min) == ("tensorrt", "10.3")
    assert model.inputs[0].profile is not None
    for pair in model.golden:
        (output,) = pair.outputs
        assert output.recorded == "graph"
        assert output.step is not None
        assert output.tolerance >= 4 * output.step
    assert not any("nvinfer" in path for path in read_manifest(out).files)
    assert any("libbm_engine_tensorrt.so" in warning for warning in progress.warnings)


def test_tvm_compiles_before_anything_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tvm, "installed", lambda: False)
    artifact = compile_demo(tmp_path / "artifact", target="tvm-fp32:cortex-a72").artifact
    with pytest.raises(BundleError, match=r"has no model\.so, .* run 'bmopt build' where TVM"):
        packed(artifact, tmp_path / "bundle", platform=ARM)


def test_float_models_have_tighter_golden_outputs_than_half_and_integers(
    demo: CompileResult, others: dict[str, Path], tmp_path: Path
) -> None:
    artifacts = [others["ort-fp32"], demo.artifact, others["trt-fp16"]]
    models = package(artifacts, SLIM, tmp_path / "bundle").manifest.models
    single, integer, half = (model.golden[0].outputs[0].tolerance for model in models)
    assert 0 < single < 0.01 < integer < 0.5
    assert single < half < 0.5


def test_models_that_take_other_inputs_are_refused(
    demo: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packing_model.pack_model
    seen: list[str] = []

    def renamed(bundle: Path, given: Packed, progress: Quiet) -> Any:
        model = whole(bundle, given, progress)
        seen.append(model.name)
        port = dataclasses.replace(model.inputs[0], name=f"other{len(seen)}")
        return dataclasses.replace(model, inputs=(port,))

    monkeypatch.setattr("bmopt.workflow.packaging.pack_model", renamed)
    with pytest.raises(BundleError, match="has other inputs than the first"):
        package([demo.artifact, demo.artifact], SLIM, tmp_path / "bundle")


def test_labels_are_written_as_plain_lines(demo: CompileResult, tmp_path: Path) -> None:
    labels = tmp_path / "names"
    labels.write_bytes("\ufeffeins\r\nzwölf \r\n\r\n".encode())
    progress = Quiet()
    options = dataclasses.replace(SLIM, labels=labels)
    manifest = package([demo.artifact], options, tmp_path / "bundle", progress).manifest
    assert manifest.labels == "labels.txt"
    assert (tmp_path / "bundle/labels.txt").read_bytes() == "eins\nzwölf\n".encode()
    assert progress.warnings == ["there are 2 labels, and outputs with 10 values"]


@pytest.mark.parametrize(("data", "message"), [(b"\n \n", "no labels"), (b"\xff\xfe", "UTF-8")])
def test_labels_that_are_none(
    data: bytes, message: str, demo: CompileResult, tmp_path: Path
) -> None:
    (tmp_path / "names").write_bytes(data)
    with pytest.raises(BundleError, match=message):
        packed(demo.artifact, tmp_path / "bundle", labels=tmp_path / "names")
    with pytest.raises(BundleError, match="cannot be read"):
        packed(demo.artifact, tmp_path / "bundle", labels=tmp_path / "missing")


def test_a_signed_bundle_has_a_signature_with_the_mode_of_a_file(
    demo: CompileResult, tmp_path: Path
) -> None:
    pytest.importorskip("cryptography")
    packed(demo.artifact, tmp_path / "bundle", key=write_key(tmp_path / "key.pem"))
    signature = tmp_path / "bundle/SIGNATURE"
    assert json.loads(signature.read_text())["algorithm"] == "ed25519"
    assert signature.stat().st_mode & 0o777 == 0o644


def test_a_bundle_is_replaced_and_other_folders_are_not(
    demo: CompileResult, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    packed(demo.artifact, out)
    (out / "old").write_text("gone after")
    packed(demo.artifact, out)
    assert not (out / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("kept")
    with pytest.raises(OutputError, match="holds other files"):
        packed(demo.artifact, tmp_path / "mine")
    artifact = tmp_path / "artifact"
    shutil.copytree(demo.artifact, artifact)
    with pytest.raises(OutputError, match="holds other files"):
        packed(demo.artifact, artifact)


def test_a_damaged_artifact_is_not_packed(demo: CompileResult, tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(demo.artifact, artifact)
    with (artifact / "model.onnx").open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ArtifactError, match="was changed"):
        packed(artifact, tmp_path / "bundle")


def test_what_makes_no_bundle(demo: CompileResult, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no artifact was given"):
        package([], SLIM, tmp_path / "bundle")
    with pytest.raises(BundleError, match="no platform 'riscv64-linux'"):
        packed(demo.artifact, tmp_path / "bundle", platform="riscv64-linux")
    with pytest.raises(BundleError, match="is no name"):
        packed(demo.artifact, tmp_path / "bundle", name="a/b")


def test_a_failure_leaves_nothing_behind(
    demo: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, out: Path) -> None:
        raise BundleError("no")

    monkeypatch.setattr("bmopt.workflow.packaging.write_archive", fail)
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="no"):
        packed(demo.artifact, tmp_path / "out/bundle.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_archive_holds_the_folder(demo: CompileResult, tmp_path: Path) -> None:
    packed(demo.artifact, tmp_path / "bundle")
    packed(demo.artifact, tmp_path / "bundle.zip")
    shutil.unpack_archive(tmp_path / "bundle.zip", tmp_path / "unpacked")
    assert content(tmp_path / "unpacked/digits") == content(tmp_path / "bundle")
    text = (tmp_path / "unpacked/digits/manifest.json").read_bytes()
    assert from_json(text, "m").name == "digits"
