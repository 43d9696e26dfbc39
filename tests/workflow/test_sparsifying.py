from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from bmopt.core.target import Target
from bmopt.errors import PruningError
from bmopt.graph.sparsity import sparsity_of
from bmopt.workflow.preparing import Job, prepare
from bmopt.workflow.progress import Quiet
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.sparsifying import gain_of, sparsified
from tests.rewriting import parse
from tests.workflow.demo_runs import DEMO, images


def job(**options: object) -> Job:
    recipe = Recipe(target="ort-fp32", calib_limit=24, **options)  # type: ignore[arg-type]
    return prepare(DEMO.model, recipe, Quiet())


def test_weights_that_stay_make_up_for_those_that_go() -> None:
    given = job(calib=str(DEMO.calib))
    model, report = sparsified(given, given.model, "1:4")
    assert json.loads(json.dumps(report)) == report
    assert report["pattern"] == "1:4"
    assert report["compensated"] is True
    assert "gains no time from 1:4" in report["gain"]
    assert set(report["refused"]) == {"stem_conv", "deep_conv"}
    holding = {one.node for one in sparsity_of(model) if "1:4" in one.patterns}
    assert holding == {layer["node"] for layer in report["layers"]}
    assert report["zeros"] == sum(one.zeros for one in sparsity_of(model)) > 0
    assert not any(one.zeros for one in sparsity_of(given.model)), "the source stays"
    for layer in report["layers"]:
        assert layer["after_db"] > layer["before_db"]

    bare = dataclasses.replace(given, calib=None)
    alone, plain = sparsified(bare, given.model, "1:4")
    assert plain["compensated"] is False
    assert plain["layers"] == []
    assert plain["zeros"] == report["zeros"]
    assert isinstance(bare.progress, Quiet)
    assert any("nothing makes up for it" in warning for warning in bare.progress.warnings)
    feeds = {given.model.graph.inputs[0].name or "": images(200)}
    outputs = []
    for one in (given.model, model, alone):
        with given.reference.open_checked(one) as runner:
            outputs.append(next(iter(runner.run(feeds).values())).argmax(-1))
    agreement = [np.mean(found == outputs[0]) for found in outputs[1:]]
    assert agreement[0] > agreement[1]


def test_a_model_that_can_not_be_sparse_is_refused_with_reasons() -> None:
    given = job(calib=str(DEMO.calib))
    with pytest.raises(PruningError, match=r"no product of the model can be 2:49: .* no multiple"):
        sparsified(given, given.model, "2:49")
    with pytest.raises(PruningError, match="can be 2:4: none is named so"):
        sparsified(given, given.model, "2:4", nodes=("nothing*",))
    with pytest.raises(PruningError, match="unknown pattern 'half'"):
        sparsified(given, given.model, "half")


@pytest.mark.parametrize(
    ("target", "pattern", "says"),
    [
        ("ort-fp32", "2:4", "gains no time from 2:4: the kernels of ONNX Runtime on a CPU"),
        ("ort-int8:x86-vnni", "unstructured=0.9", "gains no time from unstructured"),
        ("ort-fp16:cuda", "2:4", "ONNX Runtime on a GPU"),
        ("tvm-fp32:cortex-a76", "4x4", "the kernels of TVM on a CPU"),
        ("trt-int8", "2:4", "has kernels for 2:4 on sm80 and later"),
        ("trt-fp16", "1:4", "has kernels for 2:4 on sm80 and later"),
        ("trt-fp16", "4:8", "gains no time from 4:8: TensorRT's sparse kernels are for 2:4"),
        ("rtx-int8:sm75+sm89", "2:4", "gains no time from 2:4 on sm75: sparse tensor cores"),
        ("rtx-int8:sm89", "1:2", "has kernels for 2:4"),
        ("ort-int8:tensorrt", "4x4", "gains no time from 4x4: TensorRT's"),
    ],
)
def test_what_a_target_gains_is_said(target: str, pattern: str, says: str) -> None:
    found = gain_of(Target.parse(target), pattern)
    assert says in found
    assert found.startswith(target)
    assert "\n" not in found


def test_a_quantised_model_is_refused() -> None:
    given = job(calib=str(DEMO.calib))
    model = parse(
        """g (float[N,4] x) => (float[N,2] y)
        <int8[4,2] w = {3,1,2,3,1,1,1,2}, float s = {0.1}, int8 z = {0}>
        { d = DequantizeLinear(w, s, z)
          y = MatMul(x, d) }"""
    )
    with pytest.raises(PruningError, match="is quantised already"):
        sparsified(given, model, "2:4")


def test_only_what_is_asked_for() -> None:
    given = dataclasses.replace(job(), calib=None)
    model, report = sparsified(
        given, given.model, "2:4", nodes=("*_conv",), exclude=("head*",), least_inputs=40
    )
    holding = {one.node for one in sparsity_of(model) if one.zeros}
    assert holding == {"left_conv", "right_conv"}
    assert report["refused"]["point_conv"] == "sums over 32 channels, fewer than 40"
    assert "class_gemm" not in report["refused"]
