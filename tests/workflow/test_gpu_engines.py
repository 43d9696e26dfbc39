"""The whole way to TensorRT engines on a real GPU; what was seen is recorded as properties.

Whatever has to hold is asserted, what was never seen before is recorded: see
``scripts/gpu_tests.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.own_gpus import own_sms
from bmopt.backends.registry import backend_for
from bmopt.core.isolate import run_isolated
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, BuildError, IsolatedToolError
from bmopt.workflow import artifact
from bmopt.workflow.artifact import load_artifact
from bmopt.workflow.building import build_artifact
from bmopt.workflow.engines import read_engine
from bmopt.workflow.hosting import targets
from tests.workflow.demo_runs import compile_demo, images

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(280)]

Facts = Callable[[str, object], None]

_LEAST_DB = {"fp32": 40, "fp16": 35, "bf16": 20, "int8": 15, "fp8": 12}
_FIRST_FP8 = 89
_BUILD_S = 200.0


@pytest.fixture(scope="module", autouse=True)
def _able() -> None:
    able = backend_for(Target("trt", "int8")).probe(Target("trt", "int8"))
    if not able.run:
        pytest.skip(able.reason)


def _compile(out: Path, *, level: int = 1, **options: Any) -> dict[str, Any]:
    """Compile the demo, quickly unless a level is given."""
    return compile_demo(out, build_timeout_s=_BUILD_S, level=level, **options).report


def _note(record: Facts, report: dict[str, Any]) -> None:
    accuracy, latency = report["accuracy"], report["latency"]
    record("engine", json.dumps(report["engine"]))
    record("sqnr_db", json.dumps(accuracy["sqnr_db"]))
    record("accuracy", json.dumps({k: accuracy.get(k) for k in ("reference", "candidate")}))
    record("latency", json.dumps(latency) if latency else report["latency_note"])
    record("warnings", json.dumps(report["warnings"]))
    if "placement" in report:
        placement = {k: v for k, v in report["placement"].items() if k != "nodes"}
        record("placement", json.dumps(placement))


def _kernels(folder: Path) -> str:
    built = read_engine(folder)
    assert built is not None
    rows = [(k.kind, k.inputs, k.constants, k.outputs, k.nodes, k.tactic) for k in built.kernels]
    return json.dumps(rows)


def test_what_this_host_can_do(record_property: Facts) -> None:
    record_property("gpus", own_sms())
    record_property("tensorrt", sdk.version("trt"))
    for status in targets():
        record_property(status.target, status.reason or "runs")
    status = {found.target: found for found in targets()}
    if sdk.find("rtx") and own_sms()[0] == "sm90":
        assert "TensorRT-RTX does not support (trt-int8 does)" in status["rtx-int8"].reason


@pytest.mark.parametrize("precision", _LEAST_DB)
def test_every_precision_is_built_run_and_timed(
    precision: str, tmp_path: Path, record_property: Facts
) -> None:
    if precision == "fp8" and int(own_sms()[0].removeprefix("sm")) < _FIRST_FP8:
        pytest.skip(f"{own_sms()[0]} has no FP8")
    mixed = {"float_type": "fp16"} if precision in ("int8", "fp8") else {}
    report = _compile(
        tmp_path / "out", level=3, target=f"trt-{precision}", duration_s=2.0, **mixed
    )
    _note(record_property, report)
    record_property("kernels", _kernels(tmp_path / "out"))
    assert report["engine"]["engine"] == "tensorrt"
    assert report["engine"]["devices"] == list(own_sms()[:1])
    assert report["accuracy"]["note"] == ""
    assert report["accuracy"]["sqnr_db"]["logits"] > _LEAST_DB[precision]
    with load_artifact(tmp_path / "out") as opened:
        for feeds, expected in artifact.read_golden(tmp_path / "out"):
            np.testing.assert_allclose(opened.run(feeds)["logits"], expected["logits"], atol=1e-5)
    if precision != "fp32":
        assert report["latency"]["reference"] == ("trt-fp16" if mixed else "trt-fp32")
        assert report["latency"]["device_ns"].keys() == {"source", "artifact"}


@pytest.mark.parametrize("float_type", ["fp32", "fp16"])
def test_the_engine_s_own_description_says_int8(
    float_type: str, tmp_path: Path, record_property: Facts
) -> None:
    report = _compile(tmp_path / "out", target="trt-int8", float_type=float_type, placement="all")
    audit = report["placement"]["audit"]
    record_property("audit", json.dumps(audit))
    record_property("kernels", _kernels(tmp_path / "out"))
    assert audit["engine"] == "tensorrt", "its own kernels, not a stand-in's"
    assert audit["integer_work"] > 0.5


def test_placement_is_chosen_by_the_gpu_s_clock(tmp_path: Path, record_property: Facts) -> None:
    report = _compile(
        tmp_path / "out",
        target="trt-int8",
        float_type="fp16",
        placement="measured",
        duration_s=1.0,
    )
    _note(record_property, report)
    assert len(report["placement"]["latency_ratios"]) > 1


def test_an_artifact_from_elsewhere_is_built_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Facts
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sdk, "find", lambda engine: False)
        report = _compile(tmp_path / "out", target="trt-int8", float_type="fp16")
        assert report["engine"] is None
    result = build_artifact(tmp_path / "out", duration_s=2.0)
    record_property("golden_sqnr_db", json.dumps(result.report["golden_sqnr_db"]))
    record_property("engine", json.dumps(result.report["engine"]))
    record_property("latency", json.dumps(result.report["latency"]))
    assert result.report["golden_sqnr_db"]["logits"] > 20
    assert result.report["latency"]["reference"] == "trt-fp16"
    with load_artifact(result.artifact) as opened:
        assert opened.run({"image": images(16)})["logits"].shape == (16, 10)


def test_timings_are_kept(tmp_path: Path, record_property: Facts) -> None:
    cache = tmp_path / "timings"
    for turn in ("first", "second"):
        report = _compile(tmp_path / turn, target="trt-int8", timing_cache=str(cache))
        record_property(f"{turn}-seconds", report["engine"]["seconds"])
        record_property(f"{turn}-bytes", cache.stat().st_size)
        assert "timings are not used" not in " ".join(report["engine"]["warnings"])
    cache.write_bytes(b"no timings")
    report = _compile(tmp_path / "third", target="trt-int8", timing_cache=str(cache))
    record_property("damaged", json.dumps(report["engine"]["warnings"]))
    assert "timings are not used" in " ".join(report["engine"]["warnings"])


@pytest.mark.parametrize(
    "options",
    [
        {"compat": "version"},
        {"compat": "hardware"},
        {"weight_streaming": True},
        {"cuda_graph": True},
        {"refit": True},
        {"sparse": "on"},
        {"level": 0},
        {"level": 5},
        {"workspace_mib": 64},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
def test_engines_with_options_answer_alike(
    options: dict[str, Any], tmp_path: Path, record_property: Facts
) -> None:
    out = tmp_path / "out"
    try:
        report = _compile(out, target="trt-fp16", duration_s=1.0, **options)
    except BuildError as error:
        record_property("refused", str(error))
        if "libnvinfer_lean" in str(error):
            pytest.skip(str(error))
        raise
    _note(record_property, report)
    record_property("header", (out / "engine.plan").read_bytes()[:48].hex())
    record_property("kernels", _kernels(out))
    assert report["accuracy"]["sqnr_db"]["logits"] > _LEAST_DB["fp16"]


def test_an_engine_without_weights_is_small_and_not_run(
    tmp_path: Path, record_property: Facts
) -> None:
    sizes = {}
    for name, strip in (("whole", False), ("bare", True)):
        report = _compile(tmp_path / name, target="trt-fp32", strip=strip)
        sizes[name] = report["engine"]["size_bytes"]
        record_property(f"{name}-warnings", json.dumps(report["engine"]["warnings"]))
    record_property("sizes", json.dumps(sizes))
    assert sizes["bare"] < sizes["whole"]
    with pytest.raises(ArtifactError, match="stored without weights"):
        load_artifact(tmp_path / "bare")


def test_two_engines_at_once_and_the_first_is_closed_first(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _compile(tmp_path / name, target="trt-fp16")
    feeds = {"image": images(4)}
    first, second = load_artifact(tmp_path / "a"), load_artifact(tmp_path / "b")
    with second:
        with first:
            expected = first.run(feeds)["logits"]
        for _ in range(20):
            np.testing.assert_allclose(second.run(feeds)["logits"], expected, atol=1e-2)


_OPEN = """
import sys; from pathlib import Path
from bmopt.backends.nvinfer.runtime import open_engine
from bmopt.errors import BmoptError
try:
    open_engine(Path(sys.argv[1]), "trt")
    print("opened")
except BmoptError as error:
    print(type(error).__name__, error)
"""


def _opened_apart(path: Path) -> str:
    """Return how opening an engine ends; the SDK may not survive a damaged one."""
    argv = [sys.executable, "-c", _OPEN, os.fspath(path)]
    try:
        return run_isolated(argv, timeout_s=120, name="opening").strip().splitlines()[-1]
    except IsolatedToolError as error:
        return f"IsolatedToolError {error}"


@pytest.mark.parametrize("damage", ["cut", "flipped", "zeroed", "foreign-version", "foreign-sdk"])
def test_damaged_and_foreign_engines(damage: str, tmp_path: Path, record_property: Facts) -> None:
    _compile(tmp_path / "out", target="trt-fp32")
    data = bytearray((tmp_path / "out" / "engine.plan").read_bytes())
    middle = len(data) // 2
    if damage == "cut":
        del data[middle:]
    elif damage == "flipped":
        data[middle] ^= 0xFF
    elif damage == "zeroed":
        data[middle:] = bytes(len(data) - middle)
    elif damage == "foreign-version":
        data[24] -= 1
    else:
        data[:4] = b"vtrt"
        data[24] = 1
    path = tmp_path / "engine.plan"
    path.write_bytes(data)
    said = _opened_apart(path)
    record_property(damage, said)
    # What is damaged inside may be a weight, which nothing checks but the artifact's digest.
    if damage not in ("flipped", "zeroed"):
        assert said.startswith("ArtifactError"), said
        assert "bmopt build" in said


def test_an_artifact_whose_engine_was_changed_is_refused(tmp_path: Path) -> None:
    _compile(tmp_path / "out", target="trt-fp32")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    engine = tmp_path / "copy" / "engine.plan"
    engine.write_bytes(engine.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="was changed"):
        load_artifact(tmp_path / "copy")
