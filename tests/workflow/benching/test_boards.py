"""``run_bench`` with artifacts on a board, which is a real server on this host."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmopt.core.board import Board
from bmopt.core.host import host_facts
from bmopt.errors import BoardError, UsageError
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.running import run_bench
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.recipe import Recipe
from bmopt.workflow.samples import SampleOptions
from tests.backends.tvm.board_server import Server, serving
from tests.backends.tvm.installed import needs_tvm
from tests.workflow.demo_runs import DEMO

pytestmark = needs_tvm

QUICK = BenchOptions(
    data=str(DEMO.val),
    samples=SampleOptions(limit=100),
    duration_s=0.5,
    precision=0.5,
    block_ms=2.0,
    batch_sizes=(1, 4),
    timeout_s=60.0,
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model for this host."""
    out = tmp_path_factory.mktemp("tvm") / "digits"
    compile_model(DEMO.model, Recipe(target="tvm-fp32", duration_s=0.0), out)
    return out


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as running:
        yield running


def _options(server: Server, **changes: Any) -> BenchOptions:
    return dataclasses.replace(QUICK, board=server.board(), **changes)


def test_everything_that_a_board_can_tell_is_measured(server: Server, artifact: Path) -> None:
    sections = ("latency", "accuracy", "costs", "throughput")
    asked = _options(server, only=sections, scenarios=("offline",), processes=1)
    result = run_bench([str(DEMO.model), str(artifact)], asked)
    assert result.failures == {}
    assert result.problems == ()
    document = result.document
    name = artifact.name
    assert document.measurement is not None
    assert set(document.measurement.variants) == {DEMO.model.name, name}
    metrics = {one.metric: one.candidate for one in document.accuracy if one.subject == name}
    assert metrics["agreement"] == 1.0
    assert {(one.subject, one.batch) for one in document.throughput} >= {(name, 1), (name, 4)}
    facts = document.environment
    assert facts["board.architecture"] == host_facts(query_gpus=str).architecture
    assert facts[f"settings.{name}.board"] == str(server.board())
    assert facts[f"settings.{name}.board_threads"] == 1
    assert f"settings.{DEMO.model.name}.board" not in facts
    assert {cost.subject for cost in document.processes} == {DEMO.model.name}
    assert {run.subject for run in document.scenarios} == {DEMO.model.name}
    warnings = "\n".join(document.warnings)
    assert f"start-up and memory: not measured on boards, so not of {name}" in warnings
    assert f"offline: not measured on boards, so not of {name}" in warnings
    assert "a ratio of the two compares machines" in warnings


def test_several_artifacts_share_a_board(server: Server, artifact: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(artifact, tmp_path / "other"))
    result = run_bench([str(artifact), str(other)], _options(server, only=("latency",)))
    assert result.failures == {}
    document = result.document
    assert document.measurement is not None
    assert set(document.measurement.variants) == {artifact.name, "other"}
    assert document.noise_floor is not None
    assert not [text for text in document.warnings if "compares machines" in text]
    assert not [text for text in document.warnings if "on 2 CPUs" in text], "of this host"


def test_a_board_that_drops_off_leaves_what_was_measured(server: Server, artifact: Path) -> None:
    class Killing:
        """Ends the server a little after the latency has begun to be measured."""

        def step(self, text: str) -> None:
            if text == "latency":
                threading.Timer(3.0, server.kill).start()

        def advance(self, done: int, total: int) -> None:
            """Ignore it."""

        def warn(self, text: str) -> None:
            """Ignore it."""

    asked = _options(server, only=("latency", "accuracy"), duration_s=60.0, precision=1e-6)
    result = run_bench([str(artifact), str(DEMO.model)], asked, progress=Killing())
    assert list(result.failures) == [artifact.name]
    assert "dropped off" in result.failures[artifact.name]
    assert result.problems == ()
    assert result.exit_code == 2
    document = result.document
    assert document.measurement is not None
    assert set(document.measurement.variants) == {artifact.name, DEMO.model.name}
    assert {one.subject for one in document.accuracy} == {DEMO.model.name}


def test_a_board_needs_something_to_run() -> None:
    with pytest.raises(UsageError, match=r"no subject is an artifact compiled for tvm-\*"):
        run_bench([str(DEMO.model)], dataclasses.replace(QUICK, board=Board("localhost", 1)))


def test_a_board_that_is_not_there_is_one_line(artifact: Path) -> None:
    asked = dataclasses.replace(QUICK, board=Board("localhost", 1))
    with pytest.raises(BoardError, match="cannot be reached"):
        run_bench([str(artifact)], asked)


def test_a_latency_table_is_of_this_host() -> None:
    with pytest.raises(UsageError, match="leave out the board"):
        dataclasses.replace(QUICK, board=Board("localhost", 1), latency_table=True)
