"""The demo's model, pruned on its own samples in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import bmopt
from bmopt.cli.summary import print_summary
from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PruningError, UsageError
from bmopt.graph.facts import model_facts
from bmopt.graph.model_io import load_model
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.pruning import workshop
from bmopt.workflow.pruning.budget import PruneBudget
from bmopt.workflow.pruning.running import PLAN, prune_model, write_report
from bmopt.workflow.pruning.wish import PruneWish
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.report_files import read_document
from tests.workflow.demo_runs import DEMO

RECIPE = Recipe(target="ort-fp32", calib=str(DEMO.calib), val=str(DEMO.val), calib_limit=96)


def test_half_of_the_macs_are_left_and_the_model_still_reads_digits(tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    result = prune_model(DEMO.model, RECIPE, PruneWish(PruneBudget("macs", 0.5), multiple=1), out)
    assert result.exit_code == 0
    before, after = (model_facts(load_model(path)) for path in (DEMO.model, out))
    assert after.macs <= 0.5 * before.macs
    assert [value.name for value in after.outputs] == [value.name for value in before.outputs]
    report = result.report
    (source, cut) = report["trials"]
    assert source["drop"] == 0.0
    assert cut["drop"] < 5.0
    assert cut["macs"] == pytest.approx(after.macs / before.macs, abs=1e-3)
    assert report["chosen"] == "cut 1"
    plan = PrunePlan.from_json(out.with_suffix(PLAN).read_text())
    assert {name for name, gone in plan.removed.items() if gone}
    write_report(result, tmp_path / "page.html")
    assert "What was tried" in (tmp_path / "page.html").read_text()
    json.dumps(report)

    again = tmp_path / "again.onnx"
    wish = PruneWish(plan=str(out.with_suffix(PLAN)))
    prune_model(DEMO.model, RECIPE, wish, again)
    assert again.read_bytes() == out.read_bytes()
    prune_model(DEMO.model, RECIPE, wish, again)
    assert again.read_bytes() == out.read_bytes(), "a file is replaced"


def test_channels_are_ranked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(RECIPE, metric="none")
    # Widths that are given: which ones are tried else is for the clock to say.
    wish, out = PruneWish(PruneBudget("macs", 0.7), multiple=1), tmp_path / "small.onnx"
    plans = []
    for _ in range(2):
        prune_model(DEMO.model, recipe, wish, out)
        plans.append(out.with_suffix(PLAN).read_text())
        monkeypatch.setattr(workshop, "rank_channels", None)
    assert plans[0] == plans[1]
    other = dataclasses.replace(recipe, calib_limit=95)
    with pytest.raises(TypeError):
        prune_model(DEMO.model, other, wish, out)


def test_the_source_is_never_written_to(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(DEMO.model.read_bytes())
    with pytest.raises(UsageError, match="is the input, which is never written to"):
        prune_model(source, RECIPE, PruneWish(PruneBudget("macs", 0.5)), source)
    assert source.read_bytes() == DEMO.model.read_bytes()


def test_python_prunes_a_model_that_is_no_file(tmp_path: Path) -> None:
    samples = {"calib": str(DEMO.calib), "calib_limit": 96, "metric": "none"}
    model = onnx.load(DEMO.model)
    result = bmopt.prune(model, macs=0.5, out=tmp_path / "small.onnx", **samples)
    assert result.exit_code == 0
    assert result.out.is_file()
    with pytest.raises(UsageError, match="give one of --latency, --macs and --parameters"):
        bmopt.prune(model, macs=0.5, latency=0.5, **samples)
    with pytest.raises(UsageError, match="unknown option 'ratio'"):
        bmopt.prune(model, macs=0.5, ratio=0.5, **samples)


def test_integers_are_cut_for_the_latency_that_they_have(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, target="ort-int8", metric="none")
    wish = PruneWish(PruneBudget("latency", 0.8))
    report = prune_model(DEMO.model, recipe, wish, tmp_path / "small.onnx").report
    points = {point["name"]: point for point in report["trials"]}
    assert points[report["chosen"]]["latency"] < points["source"]["latency"]
    assert [table["multiple"] for table in report["latency_table"]] == [1, 4, 8, 16]


def test_what_cannot_be_met_ships_the_closest_with_exit_code_3(tmp_path: Path) -> None:
    out = tmp_path / "small.onnx"
    result = prune_model(DEMO.model, RECIPE, PruneWish(PruneBudget("macs", 0.001)), out)
    assert result.exit_code == 3
    assert result.report["missed"][0].startswith("macs=0.001 is not met: the closest leaves 0.")
    assert out.is_file()


def test_the_search_stays_within_the_drop(tmp_path: Path) -> None:
    result = prune_model(DEMO.model, RECIPE, PruneWish(max_drop=3.0), tmp_path / "small.onnx")
    assert result.exit_code == 0
    points = {point["name"]: point for point in result.report["trials"]}
    assert 2 <= len(points) <= 8
    assert points[result.report["chosen"]]["drop"] <= 3.0
    assert result.report["chosen"] != "source"


def test_compile_prunes_before_it_quantises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(
        target="ort-int8", calib=str(DEMO.calib), val=str(DEMO.val), prune="parameters=0.6",
        preset="fast", placement="all", duration_s=0.5, calib_limit=96,
    )  # fmt: skip
    result = compile_model(DEMO.model, recipe, tmp_path / "artifact")
    assert result.exit_code == 0
    pruning = result.report["pruning"]
    source, *cuts = [trial["name"] for trial in pruning["trials"]]
    assert source == "source"
    # The first unless it is slower than the source.
    assert cuts[0] == "cut 1"
    assert set(cuts[1:]) <= {"multiples of 8", "multiples of 16"}
    assert pruning["chosen"] in cuts
    print_summary(result.report)
    assert "% of the MACs" in capsys.readouterr().out
    (trials,) = read_document(tmp_path / "artifact").pruning
    assert [point.name for point in trials.points] == [source, *cuts]
    assert (tmp_path / "artifact" / "prune.json").is_file()
    weights = model_facts(load_model(tmp_path / "artifact" / "model.onnx"))
    assert weights.parameters < 0.75 * model_facts(load_model(DEMO.model)).parameters
    assert result.report["accuracy"]["agreement"] > 0.9


def test_zeros_are_made_after_the_cut(tmp_path: Path) -> None:
    wish = PruneWish(PruneBudget("macs", 0.7), sparsity="2:4")
    result = prune_model(DEMO.model, RECIPE, wish, tmp_path / "small.onnx")
    assert result.report["chosen"] == "sparse"
    assert "gains no time" in result.report["sparsity"]["gain"]


def test_samples_are_needed(tmp_path: Path) -> None:
    with pytest.raises(PruningError, match="give them with --calib"):
        prune_model(
            DEMO.model, Recipe(target="ort-fp32"), PruneWish(PruneBudget("macs", 0.5)),
            tmp_path / "small.onnx",
        )  # fmt: skip
    assert not np.array(list(tmp_path.iterdir())).size
