from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.backends.tvm.builder import TvmBuilder
from bmopt.backends.tvm.runtime import open_library
from bmopt.backends.tvm.tuning.database import RECORDS
from bmopt.backends.tvm.tuning.trials import TrialError, Trials, Where
from bmopt.core.engine import BuildOptions
from bmopt.core.target import Target
from bmopt.errors import DatabaseError, UsageError
from tests.backends.tvm.installed import (
    compiled,
    distance,
    expected,
    model_of,
    needs_tvm,
    saved,
)

pytestmark = needs_tvm

_MODEL = """
net (float[{batch}, 16, 9, 11] image, float[{batch}, 9, 16] other) => (float[{batch}, 5] out)
<float[32, 16, 3, 3] w1, float[32] b1, float[32, 5] w2> {
    c1 = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)
    r1 = Relu(c1)
    p1 = GlobalAveragePool(r1)
    f1 = Flatten(p1)
    m1 = MatMul(f1, w2)
    turned = Transpose<perm = [0, 2, 1]>(other)
    square = MatMul(other, turned)
    most = ReduceMax<axes = [1, 2], keepdims = 0>(square)
    shape = Shape(m1)
    one = Unsqueeze<axes = [1]>(most)
    out = Add(m1, one)
}
"""


def built(folder: Path, batch: str = "1", **options: Any) -> Any:
    path = saved(model_of(_MODEL.replace("{batch}", batch), opset=11), folder)
    return path, compiled(path, folder / "model.so", **options)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a tuned build tells, and its database."""
    folder = tmp_path_factory.mktemp("tuned")
    steps: list[tuple[int, int]] = []
    path = saved(model_of(_MODEL.replace("{batch}", "1"), opset=11), folder)
    target = TvmBackend().resolve(Target.parse("tvm-fp32"))
    options = BuildOptions(tune="6", tuning_database=str(folder / "db"))
    done = TvmBuilder().build(
        path, folder / "model.so", target, options, lambda *step: steps.append(step)
    )
    return folder, path, done, steps


def test_a_tuned_library_answers_as_before(tuned: Any) -> None:
    folder, path, done, steps = tuned
    random = np.random.default_rng(1)
    feeds = {
        "image": random.standard_normal((1, 16, 9, 11)).astype(np.float32),
        "other": random.standard_normal((1, 9, 16)).astype(np.float32),
    }
    with open_library(folder / "model.so", threads=1) as runner:
        assert distance(runner.run(feeds), expected(path, feeds)) <= 1e-4
    assert "kernels tuned in 6 trials" in done.tuning
    assert len((folder / "db" / RECORDS).read_text().splitlines()) == 6
    assert (6000 // 6, 1000) in steps
    assert steps[-1] == (4, 4)


def test_every_function_says_where_its_schedule_comes_from(tuned: Any) -> None:
    _, _, done, _ = tuned
    origins = {kernel.kind: kernel.schedule for kernel in done.kernels}
    assert set(origins.values()) <= {"tuned", "default", "fallback"}
    assert origins["pool"] == "default"
    assert {kernel.tactic for kernel in done.kernels if kernel.schedule == "fallback"} <= {
        "vectors", "default",
    }  # fmt: skip


def test_records_are_taken_without_measuring(tuned: Any, tmp_path: Path) -> None:
    folder, *_ = tuned
    database = tmp_path / "db"
    database.mkdir()
    for file in (folder / "db").iterdir():
        text = file.read_text()
        # As if every schedule on record had been found to be twice as fast.
        better = (
            '"found": {"ratio": 0.5, "low": 0.5, "high": 0.5, "us": 1, "rounds": 1}, "error": ""'
        )
        lines = [
            line.partition('"found": ')[0] + better + "}" if '"found"' in line else line
            for line in text.splitlines()
        ]
        (database / file.name).write_text("\n".join(lines) + "\n")
    _, done = built(tmp_path, tuning_database=str(database))
    assert done.tuning == ""
    assert "tuned" in {kernel.schedule for kernel in done.kernels}
    _, without = built(tmp_path)
    assert "tuned" not in {kernel.schedule for kernel in without.kernels}


def test_with_a_dynamic_batch_what_tvm_lowered_is_left_out_with_the_reason(
    tmp_path: Path,
) -> None:
    _, done = built(tmp_path, "N", tune="1", tuning_database=str(tmp_path / "db"))
    assert any("as their sizes are symbols: fix them with --shapes" in w for w in done.warnings)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("tvm-fp32", {"tune": "soon"}, "give a number of trials"),
        ("tvm-fp32:cortex-a72", {"tune": "5"}, "cannot be measured here: made for cortex-a72"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_starts(
    target: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    missing = tmp_path / "no such.onnx"
    with pytest.raises(UsageError, match=message):
        TvmBuilder().build(
            missing,
            tmp_path / "model.so",
            Target.parse(target),
            BuildOptions(**options, tuning_database=str(tmp_path / "db")),
        )


def test_a_database_of_another_version_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "tuning.json").write_text('{"bmopt_tuning": 1, "tvm": "0.1"}')
    options = dataclasses.replace(BuildOptions(), tuning_database=str(tmp_path))
    with pytest.raises(DatabaseError, match=r"of TVM 0\.1 .*, this is") as caught:
        TvmBuilder().build(
            tmp_path / "no such.onnx", tmp_path / "x.so", Target.parse("tvm-fp32:host"), options
        )
    assert probe.version() in str(caught.value)


def test_whole_libraries_are_compared_too(tuned: Any, tmp_path: Path) -> None:
    folder, *_ = tuned
    library = folder / "model.so"
    with Trials(Where({"kind": "llvm"})) as trials:
        found = trials.compare_libraries(library, library, threads=1, rounds=20)
        assert found.low < 1.1
        assert found.high > 0.9
        with pytest.raises(TrialError, match=r"no such\.so"):
            trials.compare_libraries(tmp_path / "no such.so", library, threads=1, rounds=20)
