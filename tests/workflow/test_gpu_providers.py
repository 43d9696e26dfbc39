"""ONNX Runtime's GPU providers, the whole way, on a real GPU; what was seen is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bmopt.backends.registry import backend_for
from bmopt.core.target import Target
from bmopt.workflow import artifact
from bmopt.workflow.artifact import load_artifact
from tests.workflow.demo_runs import compile_demo

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(280)]

Facts = Callable[[str, object], None]

_LEAST_DB = {"fp32": 40, "fp16": 35, "int8": 15}
_TARGETS = (
    "ort-fp32:cuda",
    "ort-fp16:cuda",
    "ort-fp32:tensorrt",
    "ort-fp16:tensorrt",
    "ort-int8:tensorrt",
)


@pytest.mark.parametrize("text", _TARGETS)
def test_the_demo_runs_on_a_provider(text: str, tmp_path: Path, record_property: Facts) -> None:
    target = Target.parse(text)
    able = backend_for(target).probe(target)
    if not able.run:
        pytest.skip(able.reason)
    out = tmp_path / "out"
    mixed = {"float_type": "fp16"} if target.precision == "int8" else {}
    report = compile_demo(out, target=text, duration_s=2.0, **mixed).report
    for name in ("fallbacks", "warnings", "latency", "latency_note"):
        record_property(name, json.dumps(report[name]))
    record_property("sqnr_db", json.dumps(report["accuracy"]["sqnr_db"]))
    if "placement" in report:
        placement = {k: v for k, v in report["placement"].items() if k != "nodes"}
        record_property("placement", json.dumps(placement))
    assert report["accuracy"]["note"] == ""
    assert report["accuracy"]["sqnr_db"]["logits"] > _LEAST_DB[target.precision]
    with load_artifact(out) as opened:
        for feeds, expected in artifact.read_golden(out):
            np.testing.assert_allclose(
                opened.run(feeds)["logits"], expected["logits"], rtol=1e-2, atol=1e-2
            )


def test_an_artifact_is_slower_to_open_the_first_time_only(
    tmp_path: Path, record_property: Facts
) -> None:
    target = Target.parse("ort-fp16:tensorrt")
    able = backend_for(target).probe(target)
    if not able.run:
        pytest.skip(able.reason)
    compile_demo(tmp_path / "out", target=str(target))
    engines = sorted((tmp_path / "cache").rglob("*.engine"))
    record_property("engines", [path.name for path in engines])
    written = {path: path.stat().st_mtime_ns for path in engines}
    with load_artifact(tmp_path / "out") as opened:
        for feeds, _ in artifact.read_golden(tmp_path / "out"):
            opened.run(feeds)
    assert written
    assert {path: path.stat().st_mtime_ns for path in written} == written
