"""The ladder on the demo's model: real calibration, real evaluation."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from bmopt.core.plan import QuantPlan
from bmopt.errors import QuantizationError, UsageError
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.progress import Quiet
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.steps import STEPS, Steps, steps_of
from tests.workflow.demo_runs import QUICK, compile_demo, content


def compiled(out: Path, **options: Any) -> CompileResult:
    wide = {"placement": "all", "preset": "balanced", **options}
    return compile_demo(out, **wide)


def without_report(folder: Path) -> dict[str, bytes]:
    kept = content(folder)
    return {name: data for name, data in kept.items() if name != "report.json"}


def test_a_budget_that_plain_rounding_keeps_ends_the_ladder(tmp_path: Path) -> None:
    result = compiled(tmp_path / "out", max_drop=50.0)
    budget = result.report["budget"]
    assert [rung["rung"] for rung in budget["rungs"]] == ["ranges"]
    assert budget["met"]
    assert budget["evaluations"] == 2
    assert result.exit_code == 0
    assert result.report["refinement"]["layers"] == []


def test_products_go_back_to_float_until_the_budget_is_kept(tmp_path: Path) -> None:
    free = compiled(tmp_path / "free", max_drop=-1.0, metric="sqnr")
    reached = float(free.report["accuracy"]["sqnr_db"]["logits"])
    result = compiled(tmp_path / "out", metric="sqnr", min_metric=str(reached + 3.0))
    budget = result.report["budget"]
    assert [rung["rung"] for rung in budget["rungs"]][:2] == ["ranges", "refined"]
    assert budget["rungs"][-1]["rung"].endswith("in float")
    assert budget["met"]
    assert budget["evaluations"] <= 6
    fewer = budget["rungs"][-1]["products_in_integers"]
    assert 0 < fewer < budget["rungs"][0]["products_in_integers"]
    reasons = {row["reason"] for row in result.report["placement"]["nodes"]}
    assert "faster in float, or needed there for accuracy" in reasons


def test_a_missed_budget_keeps_the_best_and_says_what_is_in_the_way(tmp_path: Path) -> None:
    progress = Quiet()
    result = compiled(tmp_path / "out", metric="sqnr", min_metric="150.0", progress=progress)
    budget = result.report["budget"]
    assert not budget["met"]
    assert result.exit_code == 3
    assert budget["evaluations"] <= 6
    best = max(budget["rungs"], key=lambda rung: rung["candidate"])
    assert budget["kept"] == best["rung"]
    assert any("budget was MISSED" in warning for warning in progress.warnings)
    assert (tmp_path / "out" / "model.onnx").exists()


def test_a_budget_needs_samples_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not calibrated on: give --val"):
        compiled(tmp_path / "out", max_drop=1.0, val="")
    assert not (tmp_path / "out").exists()


def test_other_precisions_are_judged_too(tmp_path: Path) -> None:
    result = compile_demo(tmp_path / "out", target="ort-fp32", max_drop=0.0)
    assert result.report["budget"]["met"]
    assert result.exit_code == 0


def test_a_speedup_out_of_reach_is_missed(tmp_path: Path) -> None:
    result = compile_demo(tmp_path / "out", target="ort-int8", duration_s=0.3, min_speedup=1000.0)
    assert result.exit_code == 3
    (line,) = result.report["missed"]
    assert "1000 wanted" in line


def test_a_plan_given_back_repeats_the_artifact(tmp_path: Path) -> None:
    compiled(tmp_path / "one")
    plan = tmp_path / "one" / "plan.json"
    compiled(tmp_path / "two", plan=str(plan))
    one, two = (without_report(tmp_path / name) for name in ("one", "two"))
    assert one["model.onnx"] == two["model.onnx"]
    assert one["plan.json"] == two["plan.json"]


def test_an_edited_plan_is_followed(tmp_path: Path) -> None:
    compiled(tmp_path / "one", steps="ranges,rounding,bias")
    plan = json.loads((tmp_path / "one" / "plan.json").read_text())
    assert plan["steps"] == ["ranges", "rounding", "bias"]
    plan["steps"] = ["ranges", "gain"]
    (tmp_path / "edited.json").write_text(json.dumps(plan))
    result = compiled(tmp_path / "two", plan=str(tmp_path / "edited.json"))
    assert QuantPlan.from_json((tmp_path / "two" / "plan.json").read_text()).steps == (
        "ranges",
        "gain",
    )
    assert result.report["refinement"]["steps"] == ["ranges", "gain"]


def test_a_plan_for_another_scheme_is_refused(tmp_path: Path) -> None:
    compiled(tmp_path / "one")
    with pytest.raises(QuantizationError, match="is a plan for x86-vnni, this target is trt-int8"):
        compiled(tmp_path / "two", plan=str(tmp_path / "one" / "plan.json"), target="trt-int8")


def test_refinement_brings_the_outputs_nearer(tmp_path: Path) -> None:
    plain = compiled(tmp_path / "plain", steps="none", target="trt-int8")
    refined = compiled(tmp_path / "refined", target="trt-int8")
    before, after = (
        float(one.report["accuracy"]["sqnr_db"]["logits"]) for one in (plain, refined)
    )
    assert after > before
    layers = refined.report["refinement"]["layers"]
    assert all(float(layer["after_db"]) > 0 for layer in layers)


def test_presets_and_lists_give_steps() -> None:
    assert steps_of(QUICK).names == ("ranges", "bias", "gain")
    assert Steps.of(["gain", "ranges"]).names == ("ranges", "gain")
    assert Steps.of(STEPS).refine is not None
    assert Steps.of(["ranges", "equalize"]).refine is None


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_learned_rounding_that_was_asked_for_needs_torch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs torch, which is not installed"):
        compiled(tmp_path / "out", steps="bias,learned")
    assert "learned" not in steps_of(Recipe(preset="best")).names
