"""``bmopt.finetune`` on the demo's digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import bmopt
from bmopt.errors import BmoptError, DataError, ModelError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model, save_model
from bmopt.optimizer.passes.prune_channels import PruneChannels
from bmopt.optimizer.passes.quantize import Quantize
from bmopt.workflow.optimizing import optimize_model
from tests.engine import PlainRunner
from tests.workflow.demo_runs import DEMO

pytest.importorskip("torch")

CALIB, VAL = str(DEMO.calib), str(DEMO.val)
QUICK: dict[str, Any] = {
    "epochs": 2,
    "batch": 32,
    "threads": 1,
    "precision": "fp32",
    "hold_out": 0.2,
}


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned")
    optimize_model(DEMO.model, folder / "small.onnx")
    model = load_model(folder / "small.onnx")
    PruneChannels(ratio=0.25)(model)
    save_model(model, folder / "pruned.onnx")
    return folder / "pruned.onnx"


def agreement(model: ir.Model, other: ir.Model) -> float:
    images = np.load(DEMO.val)["images"][:200].astype(np.float32)
    feeds = {"image": ((images / 255 - 0.3) / 0.35).reshape(200, 1, *images.shape[1:3])}
    best = []
    for each in (model, other):
        with PlainRunner(each) as runner:
            best.append(next(iter(runner.run(feeds).values())).argmax(axis=1))
    return float(np.mean(best[0] == best[1]))


def test_a_pruned_model_is_distilled_into_a_file_like_it(pruned: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    course = {**QUICK, "epochs": 5, "batch": 16, "learning_rate": 3e-3}
    report = bmopt.finetune(pruned, data=CALIB, teacher=DEMO.model, val=VAL, out=out, **course)
    before, after, teacher = load_model(pruned), load_model(out), load_model(DEMO.model)
    for side in ("inputs", "outputs"):
        old, new = getattr(before.graph, side), getattr(after.graph, side)
        assert [(v.name, v.dtype, v.shape) for v in old] == [
            (v.name, v.dtype, v.shape) for v in new
        ]
    assert agreement(after, teacher) > agreement(before, teacher) + 0.05
    assert report.trained.metric == "top1"
    assert report.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["tuned.onnx"]


def test_a_model_trained_for_integers_is_compiled_as_it_was_trained(tmp_path: Path) -> None:
    out = tmp_path / "tuned.onnx"
    report = bmopt.finetune(
        DEMO.model, data=CALIB, teacher=DEMO.model, out=out, qat="ort-int8", **QUICK
    )
    assert report.plan is not None
    assert report.plan_out == tmp_path / "tuned.plan.json"
    report.plan.require_model(model_digest(report.model))
    artifact = bmopt.compile(
        out,
        calib=CALIB,
        plan=str(report.plan_out),
        out=tmp_path / "artifact",
        duration_s=0.0,
        preset="fast",
    )
    compiled = load_model(tmp_path / "artifact" / "model.onnx")
    mine = Quantize(report.plan)(report.model.clone()).model
    with artifact:
        assert agreement(mine, compiled) == 1.0
    weights = {n.name: n for n in compiled.graph if n.op_type == "DequantizeLinear"}
    assert weights


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"qat": "ort-fp32"}, UsageError, "no target of 8-bit"),
        ({"epoch": 3}, UsageError, "unknown option 'epoch'"),
        ({"val": CALIB}, DataError, "same samples"),
        ({"data": "random:8", "teacher": None}, DataError, "no labels"),
        ({"model": Path("none.onnx")}, ModelError, "no such file"),
        ({"out": DEMO.model}, UsageError, "is the input"),
        ({"features": ("nothing",)}, UsageError, "in common"),
    ],
)
def test_bad_input_ends_in_one_line(
    tmp_path: Path, changes: dict[str, Any], error: type[BmoptError], words: str
) -> None:
    given = {"model": DEMO.model, "data": CALIB, "teacher": DEMO.model, "out": tmp_path / "o.onnx"}
    with pytest.raises(error, match=words) as caught:
        bmopt.finetune(**{**given, **QUICK, **changes})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.onnx").exists()


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    bmopt.compile(DEMO.model, calib=CALIB, out=tmp_path / "a", duration_s=0.0, placement="all")
    with pytest.raises(ModelError, match="quantised already"):
        bmopt.finetune(tmp_path / "a" / "model.onnx", data=CALIB, out=tmp_path / "o", **QUICK)
