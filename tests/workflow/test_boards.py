"""Compiling and building for a board, which is a real server on this host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmopt.core.board import Board
from bmopt.core.host import host_facts
from bmopt.errors import BoardError, UsageError
from bmopt.workflow.artifact import read_report
from bmopt.workflow.boards import runs_on_boards
from bmopt.workflow.building import build_artifact
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.engines import read_options
from bmopt.workflow.progress import Quiet
from bmopt.workflow.recipe import Recipe
from tests.backends.tvm.board_server import Server, serving
from tests.backends.tvm.installed import needs_tvm
from tests.workflow.demo_runs import DEMO

pytestmark = needs_tvm


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


def _recipe(board: Board, target: str = "tvm-fp32") -> Recipe:
    return Recipe(target=target, duration_s=0.2, board=str(board), calib=str(DEMO.calib))


@pytest.fixture(scope="module")
def artifact(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, compiled for the board."""
    out = tmp_path_factory.mktemp("board") / "digits"
    compile_model(DEMO.model, _recipe(server.board()), out)
    return out


def test_what_is_compiled_is_measured_on_the_board(server: Server, artifact: Path) -> None:
    report = read_report(artifact)
    assert report is not None
    found = report["on_board"]
    assert found["note"] == ""
    assert found["board"] == str(server.board())
    assert found["facts"]["architecture"] == host_facts(query_gpus=str).architecture
    assert found["threads"] == 1
    assert all(float(ratio) > 60.0 for ratio in found["golden_sqnr_db"].values())
    latency = found["latency"]
    assert 0 < latency["p10_ns"] <= latency["median_ns"] <= latency["p90_ns"]
    assert latency["runs"] > 1


def test_an_artifact_does_not_know_the_board(artifact: Path) -> None:
    options = read_options(artifact)
    assert options is not None
    assert options.board == ""
    assert Recipe.from_toml(artifact / "recipe.toml").board == ""


def test_what_is_built_is_measured_on_the_board(
    server: Server, artifact: Path, tmp_path: Path
) -> None:
    again = build_artifact(
        artifact,
        tmp_path / "again",
        duration_s=0.0,
        changes={"board": str(server.board())},
    )
    assert again.report["on_board"]["latency"] is None
    assert again.report["on_board"]["golden_sqnr_db"]


def test_an_artifact_for_another_processor_is_kept_with_a_warning(
    server: Server, tmp_path: Path
) -> None:
    other = "x86-avx2" if host_facts(query_gpus=str).architecture == "aarch64" else "cortex-a53"
    told = Quiet()
    recipe = _recipe(server.board(), f"tvm-fp32:{other}")
    found = compile_model(DEMO.model, recipe, tmp_path / "digits", progress=told)
    assert (tmp_path / "digits" / "model.onnx").is_file()
    assert found.report["on_board"]["note"]
    assert any("nothing was measured on the board" in line for line in told.warnings)


def test_a_board_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="cannot be reached"):
        compile_model(DEMO.model, _recipe(Board("localhost", 1)), tmp_path / "digits")
    assert not (tmp_path / "digits").exists()


def test_boards_run_what_tvm_compiles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"only what is compiled for tvm-\*"):
        compile_model(DEMO.model, _recipe(Board("localhost", 1), "ort-fp32"), tmp_path / "digits")
    assert not runs_on_boards(str(DEMO.model))
    assert not runs_on_boards(str(tmp_path))


def test_a_recipes_board_is_checked() -> None:
    with pytest.raises(UsageError, match="is no board"):
        Recipe(board="nowhere")
