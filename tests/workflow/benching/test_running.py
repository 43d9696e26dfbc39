"""``run_bench`` on real engines, in real processes."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bench.compare import SAME
from bmopt.bench.statistics import ratio
from bmopt.core.bench_document import BenchDocument
from bmopt.errors import DataError, UsageError
from bmopt.workflow.benching.options import SECTIONS, BenchOptions
from bmopt.workflow.benching.running import BenchResult, run_bench
from bmopt.workflow.compiling import CompileResult
from bmopt.workflow.samples import SampleOptions
from tests.workflow.demo_runs import DEMO, write_text_model

FAULTY = "tests.workflow.benching.faulty"
QUICK = BenchOptions(
    data=str(DEMO.val),
    samples=SampleOptions(limit=100),
    duration_s=0.5,
    precision=0.5,
    block_ms=2.0,
    only=("latency",),
    timeout_s=60.0,
)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import this package too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))


def bench(*subjects: Path | str, module: str = FAULTY, **options: Any) -> BenchResult:
    chosen = dataclasses.replace(QUICK, **options)
    return run_bench([str(subject) for subject in subjects], chosen, module=module)


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copy(DEMO.model, folder / name))


def test_everything_is_measured_and_survives_json(demo: CompileResult) -> None:
    result = bench(
        DEMO.model,
        demo.artifact,
        only=(),
        scenarios=("single-stream", "offline"),
        batch_sizes=(1, 4),
        thread_counts=(1,),
        fail_if="size +0%, top1 -6pp",
    )
    assert result.failures == {}
    assert result.problems == ()
    assert result.exit_code == 0
    document = result.document
    names = ["digits.onnx", demo.artifact.name]
    assert [subject.name for subject in document.subjects] == names
    assert document.measurement is not None
    assert list(document.measurement.variants) == names
    assert document.noise_floor is not None
    assert document.noise_floor.variants == SAME
    assert {cost.subject for cost in document.processes} == set(names)
    assert all(cost.load_ns and cost.cold_start_ns for cost in document.processes)
    assert {(one.subject, one.batch) for one in document.throughput} == {
        (name, batch) for name in names for batch in (1, 4)
    }
    assert [run.settings.scenario for run in document.scenarios] == [
        "single-stream", "single-stream", "offline", "offline",
    ]  # fmt: skip
    assert {one.metric for one in document.accuracy} == {"top1", "top5", "agreement"}
    assert {one.subject for one in document.energy} == set(names)
    assert [layers.subject for layers in document.layers] == names
    assert {one.subject for one in document.layer_sqnr} == {names[1]}
    assert [placement.subject for placement in document.placement] == [names[1]]
    assert [line.outcome for line in document.gate] == ["passed", "passed"]
    assert document.accuracy_samples["samples"] == 100
    assert document.environment["threads.intra_op"] == 1
    assert BenchDocument.from_json(document.to_json()) == document


def test_layers_of_an_artifact_are_told_in_the_source_s_nodes(demo: CompileResult) -> None:
    document = bench(DEMO.model, demo.artifact, only=("layers",)).document
    source, artifact = document.layers
    known = {node for row in source.rows for node in row.nodes}
    assert "stem_conv" in known
    named = [row for row in artifact.rows if row.nodes]
    assert all(set(row.nodes) <= known for row in named)
    assert any("Conv" in row.op and row.macs for row in named)
    assert source.peak_macs_per_s["float32"] > 1e8


def test_one_subject_has_a_noise_floor_and_an_accuracy() -> None:
    document = bench(DEMO.model, only=("latency", "accuracy")).document
    assert document.measurement is not None
    assert document.measurement.variants == ("digits.onnx",)
    assert document.noise_floor is not None
    assert [(one.metric, one.reference) for one in document.accuracy] == [
        ("top1", None), ("top5", None),
    ]  # fmt: skip
    assert document.accuracy[0].candidate > 0.9


def test_the_same_model_twice_has_two_names() -> None:
    document = bench(DEMO.model, DEMO.model).document
    assert [one.name for one in document.subjects] == ["digits.onnx", "digits.onnx #2"]


def test_a_slower_engine_is_called_slower(tmp_path: Path) -> None:
    slow = copy(tmp_path, "slow-30.onnx")
    found = bench(DEMO.model, slow, duration_s=5.0, precision=0.1).document.measurement
    assert found is not None
    estimate = ratio(found, "digits.onnx", "slow-30.onnx")
    assert estimate.verdict == "slower"
    assert 1.15 < estimate.ratio < 1.45


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("crash-60.onnx", "killed by SIGSEGV: the engine's last words"),
        ("fail-60.onnx", "the engine gave up"),
    ],
)
def test_an_engine_that_dies_in_the_middle_is_named_and_the_others_are_kept(
    tmp_path: Path, name: str, said: str
) -> None:
    result = bench(DEMO.model, copy(tmp_path, name), copy(tmp_path, "well.onnx"))
    assert result.exit_code == 2
    assert list(result.failures) == [name]
    assert said in result.failures[name]
    assert result.document.subjects[1].error == result.failures[name]
    assert result.document.measurement is not None
    assert result.document.measurement.variants == ("digits.onnx", "well.onnx")


def test_an_engine_that_hangs_is_given_up(tmp_path: Path) -> None:
    result = bench(DEMO.model, copy(tmp_path, "hang-60.onnx"), timeout_s=8.0)
    assert result.exit_code == 2
    assert "did not answer for" in result.failures["hang-60.onnx"]
    assert result.document.measurement is not None


def test_a_reference_that_dies_leaves_the_others_to_each_other(tmp_path: Path) -> None:
    crash, well = copy(tmp_path, "crash-60.onnx"), copy(tmp_path, "well.onnx")
    result = bench(crash, DEMO.model, well)
    assert list(result.failures) == ["crash-60.onnx"]
    assert result.document.measurement is not None
    assert result.document.measurement.variants == ("digits.onnx", "well.onnx")


def test_a_crash_under_load_keeps_what_was_measured_before(tmp_path: Path) -> None:
    crash = copy(tmp_path, "warmed-crash-5.onnx")
    result = bench(
        DEMO.model, crash, scenarios=("single-stream",), duration_s=1.0, only=("accuracy",)
    )
    assert result.exit_code == 2
    assert "SIGSEGV" in result.failures["warmed-crash-5.onnx"]
    runs = {run.subject: run for run in result.document.scenarios}
    assert runs["digits.onnx"].failure == ""
    assert "SIGSEGV" in runs["warmed-crash-5.onnx"].failure
    assert [trial.role for trial in runs["warmed-crash-5.onnx"].trials] == ["warm-up"]
    assert result.document.accuracy


def test_a_reference_that_dies_while_it_is_scored_leaves_the_others(tmp_path: Path) -> None:
    crash, well = copy(tmp_path, "crash-3.onnx"), copy(tmp_path, "well.onnx")
    result = bench(crash, DEMO.model, well, only=("accuracy",))
    assert list(result.failures) == ["crash-3.onnx"]
    assert result.problems == ()
    assert {one.subject for one in result.document.accuracy} == {"well.onnx"}


def test_graphs_with_nothing_in_common_are_no_failure(tmp_path: Path) -> None:
    one = write_text_model(
        tmp_path / "one.onnx", "g (float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }"
    )
    other = write_text_model(
        tmp_path / "other.onnx", "g (float[1, 3] x) => (float[1, 3] z) { z = Relu(x) }"
    )
    result = bench(one, other, data="random:4", only=("latency", "sqnr"))
    assert result.exit_code == 0
    assert any("no tensors of the same name" in text for text in result.document.warnings)


def test_scenarios_alone() -> None:
    document = bench(
        DEMO.model, only=("costs",), skip=("costs",), scenarios=("single-stream",)
    ).document
    assert [run.settings.scenario for run in document.scenarios] == ["single-stream"]
    assert document.measurement is None
    assert document.processes == ()


def test_a_model_with_other_inputs_is_named(tmp_path: Path) -> None:
    other = write_text_model(
        tmp_path / "other.onnx", "g (float[n, 3] picture) => (float[n, 3] y) { y = Relu(picture) }"
    )
    result = bench(DEMO.model, other)
    assert result.exit_code == 2
    assert "different inputs" in result.failures["other.onnx"]
    assert "'picture'" in result.failures["other.onnx"]
    assert result.document.measurement is not None


def test_an_artifact_for_another_machine_is_named(demo: CompileResult, tmp_path: Path) -> None:
    from tests.workflow.demo_runs import compile_demo

    foreign = compile_demo(tmp_path / "foreign", target="ort-int8:arm64").artifact
    result = bench(DEMO.model, foreign)
    assert result.exit_code == 2
    assert "arm64" in result.failures["foreign"]
    assert result.document.measurement is not None


def test_nothing_that_can_be_opened(tmp_path: Path) -> None:
    result = bench(tmp_path / "missing.onnx", tmp_path / "absent.onnx")
    assert result.exit_code == 2
    assert len(result.failures) == 2
    assert result.document.measurement is None


def test_labels_that_are_missing_cost_the_accuracy_alone(tmp_path: Path) -> None:
    images = np.load(DEMO.val)["images"][:32]
    data = tmp_path / "unlabelled.npz"
    np.savez(data, input=np.asarray(images[:, None], np.float32))
    result = bench(
        DEMO.model, DEMO.model, data=str(data), metrics=("top1",), only=("latency", "accuracy")
    )
    assert result.exit_code == 2
    assert "has no labels for top1" in result.problems[0]
    assert result.document.measurement is not None
    assert result.problems[0] in result.document.warnings


def test_samples_that_do_not_exist_end_it() -> None:
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        bench(DEMO.model, data="nowhere.npz")


def test_a_gate_needs_two() -> None:
    with pytest.raises(UsageError, match="--against"):
        bench(DEMO.model, fail_if="p50 +3%")


def test_a_gate_that_fails_and_one_that_cannot_tell(demo: CompileResult) -> None:
    failed = bench(demo.artifact, DEMO.model, fail_if="p50 +3%, size +1%", duration_s=2.0)
    assert failed.exit_code == 1
    assert [line.outcome for line in failed.document.gate] == ["failed", "failed"]
    open_one = bench(DEMO.model, demo.artifact, fail_if="top1 -2pp", only=("accuracy",))
    assert open_one.exit_code == 4
    assert "more paired samples" in open_one.document.gate[0].text


def test_sections_are_left_out_as_asked() -> None:
    options = BenchOptions(only=("latency", "costs"), skip=("costs",))
    assert options.sections == ("latency",)
    assert BenchOptions().sections == SECTIONS
    with pytest.raises(UsageError, match="no section 'speed'"):
        BenchOptions(skip=("speed",))


def test_no_process_is_left_behind(tmp_path: Path) -> None:
    bench(DEMO.model, copy(tmp_path, "crash-60.onnx"))
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("the kernel does not list children")
    assert children.read_text().split() == []
