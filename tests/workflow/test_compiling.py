from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.core.digest import of_file
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import RangeTable
from bmopt.optimizer.simplify import optimize_file
from bmopt.workflow import (
    artifact,
    attempts,
    choosing,
    lowering,
    measuring,
    placing,
    preparing,
    reporting,
)
from bmopt.workflow.artifact import load_artifact, read_manifest
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.progress import Quiet
from bmopt.workflow.recipe import Recipe
from tests.optimizer.literals import weights
from tests.workflow.demo_runs import (
    DEMO,
    QUICK,
    compile_demo,
    content,
    images,
    write_text_model,
)


def without_report(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(folder).items() if name != "report.json"}


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[str]:
    """Note every call of ``owner.name``."""
    calls: list[str] = []
    function = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_the_report_of_the_demo(demo: CompileResult) -> None:
    report = json.loads((demo.artifact / "report.json").read_text())
    assert report == json.loads(json.dumps(demo.report))
    accuracy = report["accuracy"]
    assert (accuracy["metric"], accuracy["samples"]) == ("top1", 100)
    assert accuracy["candidate"]["top1"] >= accuracy["reference"]["top1"] - 0.02
    assert accuracy["sqnr_db"]["logits"] > 20
    assert report["artifact"]["size_bytes"] < report["source"]["size_bytes"] / 2.5
    assert report["latency"] is None
    assert report["latency_note"]


def test_the_report_says_where_every_node_runs(demo: CompileResult) -> None:
    placement = demo.report["placement"]
    kernels = {row["node"]: row["kernel"] for row in placement["nodes"] if row["integer"]}
    assert kernels["deep_conv"] == "QLinearConv"
    assert kernels["residual_add"] == "QLinearAdd"
    assert kernels["pool"] == "QLinearGlobalAveragePool"
    floats = {row["node"]: row["reason"] for row in placement["nodes"] if not row["integer"]}
    assert floats == {
        "stem_conv": "reads 1 channels only",
        "class_gemm": "only 640 multiply-adds",
    }
    assert (placement["integer"], placement["float"]) == (len(kernels), 2)


def test_the_artifact_says_what_it_was_made_with(demo: CompileResult) -> None:
    table = RangeTable.from_json((demo.artifact / "ranges.json").read_text())
    plan = QuantPlan.from_json((demo.artifact / "plan.json").read_text())
    plan.require_model(table.model)
    assert table.samples == 48
    recipe = Recipe.from_toml(demo.artifact / "recipe.toml")
    assert recipe == dataclasses.replace(
        QUICK, placement=recipe.placement, steps=",".join(plan.steps) or "none"
    )
    assert recipe.placement == "narrow_input=4,narrow_depthwise=16,small_product=65536"


def test_the_same_recipe_gives_the_same_bytes(
    demo: CompileResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.from_toml(demo.artifact / "recipe.toml")
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "another"))
    compile_model(DEMO.model, recipe, tmp_path / "again")
    assert without_report(tmp_path / "again") == without_report(demo.artifact)


def test_this_hosts_device_is_written_into_the_recipe(tmp_path: Path) -> None:
    compile_demo(tmp_path / "a", target="ort-int8")
    recipe = Recipe.from_toml(tmp_path / "a" / "recipe.toml")
    assert recipe.target == read_manifest(tmp_path / "a")["target"]
    assert recipe.target.startswith("ort-int8:")


def test_a_second_run_finds_everything_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {
        "method": "auto",
        "placement": "measured",
        "preset": "balanced",
        "duration_s": 0.2,
    }
    passes = count_calls(monkeypatch, preparing, "optimize_file")
    calibrations = count_calls(monkeypatch, lowering, "calibrated")
    equalised = count_calls(monkeypatch, choosing, "plan_smoothing")
    refined = count_calls(monkeypatch, attempts, "refine")
    timed = count_calls(monkeypatch, placing, "probe_latencies")
    steps = (passes, calibrations, equalised, refined, timed)
    compile_demo(tmp_path / "one", target="ort-int8", **options)
    counts = [len(calls) for calls in steps]
    assert all(counts)
    compile_demo(tmp_path / "two", target="ort-int8", **options)
    assert [len(calls) for calls in steps] == counts
    assert without_report(tmp_path / "one") == without_report(tmp_path / "two")
    compile_demo(tmp_path / "three", target="ort-int8", **{**options, "calib_limit": 32})
    assert len(calibrations) > counts[1]


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_a_damaged_cached_model_is_made_again(
    tmp_path: Path, cache_folder: Path, damage: str
) -> None:
    compile_demo(tmp_path / "one")
    (stored,) = (cache_folder / "optimize").rglob("*.onnx")
    if damage == "truncate":
        stored.write_bytes(stored.read_bytes()[:100])
    else:
        stored.unlink()
    compile_demo(tmp_path / "two")
    assert without_report(tmp_path / "one") == without_report(tmp_path / "two")


def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    result = compile_demo(tmp_path / "out")
    assert result.report["accuracy"]["agreement"] > 0.9


def test_an_artifact_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_demo(out)
    (out / "notes.txt").write_text("stale")
    compile_demo(out, target="ort-fp32", calib="")
    assert not {"notes.txt", "plan.json", "ranges.json"} & set(content(out))
    assert read_manifest(out)["target"] == "ort-fp32"


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    source = tmp_path / "in" / "digits.onnx"
    source.parent.mkdir()
    source.write_bytes(DEMO.model.read_bytes())
    before = of_file(source)
    compile_demo(tmp_path / "out", source=source)
    assert of_file(source) == before
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("samples", [True, False])
def test_a_float_target(tmp_path: Path, samples: bool) -> None:
    val = str(DEMO.val) if samples else ""
    report = compile_demo(tmp_path / "out", target="ort-fp32", calib="", val=val).report
    assert "placement" not in report
    assert (report["accuracy"] is not None) is samples
    with load_artifact(tmp_path / "out", any_host=True) as opened:
        assert opened.run({"image": images(2)})["logits"].shape == (2, 10)
    assert "golden/output_1.npz" in content(tmp_path / "out")
    assert report["nodes"]["after"] < report["nodes"]["before"]


@pytest.mark.parametrize("device", ["x86-avx2", "x86-avx512", "arm64", "arm64-dotprod"])
def test_another_device(tmp_path: Path, device: str) -> None:
    report = compile_demo(tmp_path / "out", target=f"ort-int8:{device}", placement="all").report
    assert report["accuracy"]["sqnr_db"]["logits"] > 20
    plan = QuantPlan.from_json((tmp_path / "out" / "plan.json").read_text())
    assert plan.scheme == device


def test_latency_is_measured(tmp_path: Path) -> None:
    report = compile_demo(tmp_path / "out", target="ort-int8", duration_s=0.2).report
    assert report["latency"]["ratio"] > 0
    assert report["latency"]["threads"] == 1
    assert report["measurement"]
    assert not report["latency_note"]


def test_a_slower_artifact_is_said_to_be_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measuring.measure_latency

    def swapped(before: Any, after: Any, *rest: Any, **options: Any) -> Any:
        found = measure(before, after, *rest, **options)
        document = {**found.to_dict(), "verdict": "slower", "ratio": 1.5}
        monkeypatch.setattr(type(found), "to_dict", lambda _: document)
        return found

    monkeypatch.setattr(reporting, "measure_latency", swapped)
    progress = Quiet()
    report = compile_demo(
        tmp_path / "out", target="ort-int8", duration_s=0.1, progress=progress
    ).report
    assert "the artifact is SLOWER than the source model: 1.50 x its latency" in report["warnings"]
    assert progress.warnings == report["warnings"]


def test_accuracy_on_the_calibration_samples_is_said(tmp_path: Path) -> None:
    progress = Quiet()
    report = compile_demo(tmp_path / "out", val="", progress=progress).report
    assert any("on the calibration samples" in warning for warning in progress.warnings)
    assert report["accuracy"]["samples"] == 48


@pytest.mark.parametrize(("metric", "found"), [("agreement", "agreement"), ("none", None)])
def test_the_metric_is_the_recipes(tmp_path: Path, metric: str, found: str | None) -> None:
    accuracy = compile_demo(tmp_path / "out", metric=metric).report["accuracy"]
    assert (None if accuracy is None else accuracy["metric"]) == found


def test_keep_float_reaches_the_plan(tmp_path: Path) -> None:
    rows = compile_demo(
        tmp_path / "out", placement="all", keep_float=("left_bn", "op:Gemm")
    ).report["placement"]["nodes"]
    kept = {row["node"] for row in rows if row["reason"] == "kept in float as asked"}
    assert kept == {"left_conv", "class_gemm"}, "a node is found by what was folded into it too"


def test_shapes_are_fixed(tmp_path: Path) -> None:
    compile_demo(tmp_path / "out", shapes=("image:1x1x16x16",))
    manifest = read_manifest(tmp_path / "out")
    assert manifest["inputs"][0]["shape"] == [1, 1, 16, 16]


def test_random_samples(tmp_path: Path) -> None:
    report = compile_demo(tmp_path / "out", calib="random:8", val="random:4").report
    assert report["accuracy"]["metric"] == "agreement"
    assert report["accuracy"]["samples"] == 4


@pytest.mark.parametrize("read", [onnx.load, ir.load])
def test_a_model_in_memory(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    compile_demo(tmp_path / "out", source=read(DEMO.model))
    with load_artifact(tmp_path / "out", any_host=True) as opened:
        assert opened.run({"image": images(1)})["logits"].shape == (1, 10)


def test_arrays_in_memory(tmp_path: Path) -> None:
    def feeds() -> Any:
        return ({"image": image[None]} for image in images(8))

    recipe = dataclasses.replace(QUICK, calib="", val="", calib_limit=0)
    report = compile_model(DEMO.model, recipe, tmp_path / "out", calib=feeds).report
    assert report["accuracy"]["samples"] == 8


def test_a_pipeline_may_be_empty(tmp_path: Path) -> None:
    report = compile_demo(tmp_path / "out", pipeline="").report
    assert report["passes"] == {}
    assert report["accuracy"]["sqnr_db"]["logits"] > 15


def test_a_rollback_is_told_on_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bmopt.optimizer.pass_log import Rollback

    def rolled_back(*arguments: Any, **options: Any) -> Any:
        result = optimize_file(*arguments, **options)
        log = dataclasses.replace(result.log, rollbacks=(Rollback("fold-x", "changed it"),))
        return dataclasses.replace(result, log=log)

    monkeypatch.setattr(preparing, "optimize_file", rolled_back)
    for out in ("one", "two"):
        progress = Quiet()
        compile_demo(tmp_path / out, progress=progress)
        assert "fold-x changed it; rolled back" in progress.warnings


def test_placement_that_leaves_nothing_in_integers_is_told(tmp_path: Path) -> None:
    progress = Quiet()
    report = compile_demo(
        tmp_path / "out", placement="small_product=9999999,prefix=99", progress=progress
    ).report
    assert report["placement"]["integer"] == 0
    assert any("nothing runs in INT8" in warning for warning in progress.warnings)


TWO_BRANCHES = f"""
g (float[N,4] x, float[N,4] z) => (float[N,3] y)
  <{weights("w", (4, 3))}, {weights("v", (4, 3))}>
{{ a = MatMul(x, w) b = MatMul(z, v) y = Add(a, b) }}
"""


def write_samples(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_a_tensor_that_never_leaves_zero_stays_in_float_with_a_warning(tmp_path: Path) -> None:
    source = write_text_model(tmp_path / "two.onnx", TWO_BRANCHES)
    x = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    calib = write_samples(tmp_path / "calib.npz", x=x, z=np.zeros_like(x))
    progress = Quiet()
    report = compile_demo(
        tmp_path / "out", source=source, calib=calib, val="", placement="all", progress=progress
    ).report
    floats = [row for row in report["placement"]["nodes"] if not row["integer"]]
    assert "tensor 'z' never left zero in calibration" in [row["reason"] for row in floats]
    assert any("never left zero" in warning for warning in progress.warnings)
    assert report["placement"]["integer"] == 1


def test_a_model_that_never_leaves_zero_stays_in_float_with_a_warning(tmp_path: Path) -> None:
    source = write_text_model(tmp_path / "two.onnx", TWO_BRANCHES)
    zero = np.zeros((16, 4), np.float32)
    calib = write_samples(tmp_path / "calib.npz", x=zero, z=zero)
    progress = Quiet()
    report = compile_demo(
        tmp_path / "out", source=source, calib=calib, val="", progress=progress
    ).report
    assert report["placement"]["integer"] == 0
    assert any("never left zero" in warning for warning in progress.warnings)


def test_a_reports_infinities_are_text() -> None:
    found = artifact._finite({"a": [math.inf, (-math.inf, 1.0)], "b": math.nan, "c": "inf"})
    assert found == {"a": ["inf", ["-inf", 1.0]], "b": "nan", "c": "inf"}
