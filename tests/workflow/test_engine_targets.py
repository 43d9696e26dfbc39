"""Targets whose engines are built: without the SDK, with TensorRT-RTX, and with a double."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import bmopt
from bmopt.errors import ArtifactError, BuildError, HostError, UsageError
from bmopt.workflow.artifact import load_artifact, read_manifest
from bmopt.workflow.building import build_artifact, default_out
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.engines import read_engine, read_options
from bmopt.workflow.progress import Quiet
from tests.workflow.demo_runs import compile_demo, content, images, write_text_model
from tests.workflow.engine_double import with_double

without_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here"
)


def ops(folder: Path) -> set[str]:
    return {node.op_type for node in ir.load(folder / "model.onnx").graph}


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> CompileResult:
    """Return a trt-int8 artifact as a host without TensorRT makes it."""
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    return compile_demo(tmp_path_factory.mktemp("unbuilt") / "out", target="trt-int8")


def test_without_an_engine_everything_else_is_done(unbuilt: CompileResult) -> None:
    report, folder = unbuilt.report, unbuilt.artifact
    assert report["engine"] is None
    assert "to be built on the device" in report["engine_note"]
    assert report["accuracy"]["sqnr_db"]["logits"] > 15
    assert "ONNX Runtime" in report["accuracy"]["note"]
    assert [found for found in report["lint"] if found["level"] == "error"] == []
    assert {"QuantizeLinear", "DequantizeLinear"} <= ops(folder)
    assert not (folder / "engine.plan").exists()
    assert read_engine(folder) is None
    options = read_options(folder)
    assert options is not None
    assert str(options.profiles["image"]) == "1x1x16x16:1x1x16x16:16x1x16x16"
    assert read_manifest(folder)["golden"] == "graph on the reference engine"


def test_the_stand_in_audits(unbuilt: CompileResult) -> None:
    pytest.importorskip("tensorrt_rtx")
    audit = unbuilt.report["placement"]["audit"]
    assert audit["engine"] == "tensorrt_rtx"
    assert audit["integer_work"] == 1.0
    assert audit["in_float"] == {}


def test_what_stands_in_for_a_provider_gets_profiles_that_the_provider_needs_none_of(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    report = compile_demo(tmp_path / "out", target="ort-int8:tensorrt", duration_s=0.0).report
    assert report["placement"]["audit"]["integer_work"] == 1.0


def test_an_unbuilt_artifact_says_so_when_it_is_loaded(unbuilt: CompileResult) -> None:
    with pytest.raises(ArtifactError, match=r"run 'bmopt build .*' there, or load it"):
        load_artifact(unbuilt.artifact)
    with load_artifact(unbuilt.artifact, any_host=True) as opened:
        assert opened.run({"image": images(2)})["logits"].shape == (2, 10)
    with pytest.raises(HostError, match="cannot be built here: TensorRT is not installed"):
        bmopt.load(unbuilt.artifact, build=True)
    assert not default_out(unbuilt.artifact).exists()


@without_tensorrt
def test_an_engine_can_be_required(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the engine of trt-int8 cannot be built here"):
        compile_demo(tmp_path / "out", target="trt-int8", require_engine=True)
    assert list(tmp_path.iterdir()) == []


def test_a_build_on_the_device_makes_a_child(
    unbuilt: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = with_double(monkeypatch)
    result = build_artifact(unbuilt.artifact, tmp_path / "child", duration_s=0.1)
    parent, child = read_manifest(unbuilt.artifact), read_manifest(tmp_path / "child")
    assert child["parent"] == parent["digest"]
    assert child["golden"] == "artifact"
    assert child["engine"] == {"name": "double", "version": "11.0", "devices": ["sm90"]}
    assert {"engine.plan", "engine.json", "plan.json", "ranges.json"} <= set(
        content(tmp_path / "child")
    )
    assert result.report["golden_sqnr_db"]["logits"] > 60
    assert result.report["latency"]["reference"] == "trt-fp16"
    assert [str(target) for target, _ in double.builds] == ["trt-int8", "trt-fp16"]
    with load_artifact(tmp_path / "child") as opened:
        assert opened.run({"image": images(1)})["logits"].shape == (1, 10)
    assert json.loads((tmp_path / "child" / "report.json").read_text())["target"] == "trt-int8"


def test_loading_can_build_once(
    unbuilt: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = with_double(monkeypatch)
    copy = tmp_path / "model.trt-int8"
    copy.mkdir()
    for name, data in content(unbuilt.artifact).items():
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes(data)
    for _ in range(2):
        with bmopt.load(copy, build=True) as opened:
            assert opened.path == tmp_path / "model.trt-int8.built"
    assert len(double.builds) == 1


def test_a_build_takes_other_shapes_and_options(
    unbuilt: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = with_double(monkeypatch)
    build_artifact(
        unbuilt.artifact,
        tmp_path / "child",
        shapes=["image:1x1x16x16:4x1x16x16:8x1x16x16"],
        duration_s=0.0,
        changes={"level": 5, "compat": "version"},
    )
    ((_, options),) = double.builds
    assert (options.level, options.compat) == (5, "version")
    assert options.profiles["image"].opt == (4, 1, 16, 16)
    with pytest.raises(UsageError, match="no input 'nope'"):
        build_artifact(unbuilt.artifact, tmp_path / "other", shapes=["nope:1x2:2x2:3x2"])


def test_an_engine_without_weights_is_written_and_not_run(
    unbuilt: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = with_double(monkeypatch)
    result = build_artifact(unbuilt.artifact, tmp_path / "child", changes={"strip": True})
    assert double.opened == []
    assert result.report["latency"] is None
    assert read_manifest(tmp_path / "child")["golden"] == "graph on the reference engine"
    with pytest.raises(ArtifactError, match="stored without weights"):
        load_artifact(tmp_path / "child")


def test_compiling_where_it_runs_compares_with_float16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = with_double(monkeypatch)
    report = compile_demo(tmp_path / "out", target="trt-int8", duration_s=0.1).report
    assert report["latency"]["reference"] == "trt-fp16"
    assert report["engine"]["engine"] == "double"
    assert report["accuracy"]["note"] == ""
    assert read_manifest(tmp_path / "out")["golden"] == "artifact"
    assert ("engine.plan", "trt-int8") in [(name, str(target)) for name, target in double.opened]
    assert [str(target) for target, _ in double.builds] == ["trt-int8", "trt-fp16"]


def test_placement_is_timed_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    double = with_double(monkeypatch)
    report = compile_demo(
        tmp_path / "out",
        target="trt-int8",
        placement="measured",
        float_type="fp16",
        duration_s=0.1,
    ).report
    ratios = report["placement"]["latency_ratios"]
    assert len(ratios) > 1
    assert len(double.builds) == len(ratios) + 3
    assert report["cast"]["dtype"] == "float16"


@pytest.mark.parametrize("target", ["trt-fp16", "trt-bf16", "trt-fp8", "ort-fp16:cuda"])
def test_other_precisions_are_evaluated_here(tmp_path: Path, target: str) -> None:
    report = compile_demo(tmp_path / "out", target=target).report
    assert report["accuracy"]["sqnr_db"]["logits"] > (30 if "16" in target else 12)
    assert report["latency"] is None
    with load_artifact(tmp_path / "out", any_host=True) as opened:
        assert opened.run({"image": images(1)})["logits"].dtype == np.float32


@pytest.mark.parametrize(
    ("target", "rewrites"),
    [("trt-fp16", "--target trt-int8 --float fp16"), ("rtx-fp32:sm89", "--target rtx-int8:sm89")],
)
def test_a_quantised_model_for_a_float_target_is_told_which_target_rewrites_it(
    tmp_path: Path, demo: CompileResult, target: str, rewrites: str
) -> None:
    source = demo.artifact / "model.onnx"
    with pytest.raises(BuildError, match=f"would refuse it.* or let {rewrites} rewrite it$"):
        compile_demo(tmp_path / "out", source=source, target=target, calib="", val="")


@pytest.mark.parametrize("target", ["trt-fp16", "trt-bf16"])
def test_inputs_in_half_precision_take_the_samples(tmp_path: Path, target: str) -> None:
    report = compile_demo(tmp_path / "out", target=target, cast_io=True).report
    assert report["inputs"][0]["dtype"] == {"trt-fp16": "float16"}.get(target, "bfloat16")
    assert report["accuracy"]["sqnr_db"]["logits"] > 30
    with np.load(tmp_path / "out" / "golden" / "input_0.npz") as golden:
        assert golden["image"].dtype == (np.float16 if target == "trt-fp16" else np.float32)


def test_a_graph_that_the_engine_would_refuse_is_not_written(tmp_path: Path) -> None:
    source = write_text_model(
        tmp_path / "det.onnx", "g (float[1,3,3] x) => (float[1] y) { y = Det(x) }"
    )
    with pytest.raises(BuildError, match=r"trt-fp16 would refuse it: node .*Det.*TRT0\d\d"):
        compile_demo(tmp_path / "out", source=source, target="trt-fp16", calib="", val="")
    assert not (tmp_path / "out").exists()


def test_a_provider_leaves_what_it_refuses_to_another(tmp_path: Path) -> None:
    source = write_text_model(
        tmp_path / "det.onnx", "g (float[1,3,3] x) => (float[1] y) { y = Det(x) }"
    )
    told = Quiet()
    options: dict[str, Any] = {"target": "ort-fp32:tensorrt", "calib": "", "val": ""}
    report = compile_demo(tmp_path / "out", source=source, progress=told, **options).report
    assert any("leave a part to another provider: node" in line for line in told.warnings)
    assert [found["rule"] for found in report["lint"]] == ["TRT021"]


def test_real_engines_without_a_gpu(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path / "out"
    report = compile_demo(out, target="rtx-int8:sm86+sm89", float_type="fp16").report
    assert (out / "engine.rtx").stat().st_size == report["engine"]["size_bytes"]
    assert report["engine"]["devices"] == ["sm86", "sm89"]
    assert report["placement"]["audit"]["integer_work"] == 1.0
    built = read_engine(out)
    assert built is not None
    assert any("int8" in kernel.inputs for kernel in built.kernels)
    if report["latency"] is None:
        with pytest.raises(HostError, match="no NVIDIA GPU"):
            load_artifact(out)
    child = build_artifact(out, duration_s=0.0)
    assert child.artifact == tmp_path / "out.built"
    assert read_manifest(child.artifact)["parent"] == read_manifest(out)["digest"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "ort-int8:x86-vnni", "level": 3}, "--level is for engines"),
        ({"target": "ort-int8:x86-vnni", "float_type": "fp16"}, "slower than fp32 on CPUs"),
        ({"target": "trt-fp16", "float_type": "fp16"}, "--float is for 8-bit targets"),
        ({"target": "trt-int8", "calib": ""}, "needs calibration samples"),
    ],
)
def test_options_that_make_no_sense(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        compile_demo(tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []
