from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.core.latency_table import LatencyTable
from bmopt.core.plan import QuantPlan
from bmopt.demo_data import demo_files
from bmopt.errors import UsageError
from bmopt.workflow.artifact import PLAN
from bmopt.workflow.benching import latency_table
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import run_bench
from bmopt.workflow.compiling import CompileResult
from tests.workflow.demo_runs import compile_demo

OPTIONS = BenchOptions(
    data=str(demo_files().val), only=("accuracy",), latency_table=True, metrics=("top1",)
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles that are long enough to have every part in them."""
    monkeypatch.setattr(latency_table, "_SECONDS", 0.4)


@pytest.fixture(scope="module")
def in_float(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("float") / "artifact"
    return compile_demo(folder, target="ort-fp32").artifact


def test_a_table_of_a_model_and_its_artifact(
    demo: CompileResult, in_float: Path, tmp_path: Path
) -> None:
    found = run_bench([str(in_float), str(demo.artifact)], OPTIONS)
    assert found.exit_code == 0, (found.failures, found.problems)
    table = found.latency_table
    assert isinstance(table, LatencyTable)
    plan = QuantPlan.from_json((demo.artifact / PLAN).read_text(encoding="utf-8"))
    table.require_model(plan.model)
    assert set(plan.integer) <= set(table.groups)
    assert table.target == "ort-int8:x86-vnni"
    assert all(group.float_ns >= 0.0 for group in table.groups.values())
    file = tmp_path / "table.json"
    file.write_text(table.to_json(), encoding="utf-8")
    assert LatencyTable.from_json(file.read_text(encoding="utf-8")) == table


def test_what_is_no_pair_of_a_model_and_its_artifact_is_told_apart(
    demo: CompileResult, in_float: Path
) -> None:
    swapped = run_bench([str(demo.artifact), str(in_float)], OPTIONS)
    assert swapped.latency_table is None
    assert swapped.exit_code == 2
    assert any("is an 8-bit artifact of bmopt" in line for line in swapped.problems)
    other = run_bench([str(demo.artifact), str(demo.artifact)], OPTIONS)
    assert any("is not the float model" in line for line in other.problems)


def test_it_takes_two(demo: CompileResult) -> None:
    with pytest.raises(UsageError, match="needs two subjects"):
        run_bench([str(demo.artifact)], OPTIONS)
