from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.tvm import board_runner
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.backends.tvm.board_runner import TvmBoard
from bmopt.backends.tvm.boards import connect
from bmopt.core.board import Board, BoardFacts, Remote
from bmopt.core.host import host_facts
from bmopt.core.runner import SelfTimed
from bmopt.errors import ArtifactError, BoardError, DataError, HostError
from tests.backends.tvm.board_server import Server, needs_tracker, serving, tracking
from tests.backends.tvm.installed import (
    compiled,
    distance,
    expected,
    needs_tvm,
)

pytestmark = needs_tvm


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def link(server: Server) -> Iterator[TvmBoard]:
    with TvmBoard.connected(server.board(), timeout_s=20.0) as board:
        yield board


def _feeds(batch: int = 2, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {"image": random.standard_normal((batch, 4, 8, 8)).astype(np.float32)}


def test_a_board_tells_what_it_is(link: TvmBoard) -> None:
    host = host_facts(query_gpus=str)
    assert link.facts.architecture == host.architecture
    assert link.facts.cores == host.logical_cores
    assert link.facts.cpu
    assert link.facts.threads >= 1
    assert not link.facts.lacking & set(host.flags)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_board_answers_as_onnx_runtime_does(link: TvmBoard, folder: Path, batch: int) -> None:
    with link.open(folder / "model.so", threads=1) as runner:
        assert runner.output_names == ("logits", "features")
        answers = runner.run(_feeds(batch))
    assert distance(answers, expected(folder / "model.onnx", _feeds(batch))) <= 1e-4


def test_a_board_links_objects_itself(
    link: TvmBoard, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmopt.backends.tvm.builder.compiler_for", lambda device, host: "")
    compiled(folder / "model.onnx", tmp_path / "model.so")
    with link.open(tmp_path / "model.tar") as runner:
        answers = runner.run(_feeds())
    assert distance(answers, expected(folder / "model.onnx", _feeds())) <= 1e-4


def test_several_libraries_are_open_at_once(link: TvmBoard, folder: Path) -> None:
    with link.open(folder / "model.so") as first, link.open(folder / "model.so") as second:
        before = first.run(_feeds(1))
        second.run(_feeds(1, seed=1))
        for name, array in first.run(_feeds(1)).items():
            np.testing.assert_array_equal(array, before[name])


def test_runs_are_timed_by_the_board(link: TvmBoard, folder: Path) -> None:
    with link.open(folder / "model.so", threads=1) as runner:
        assert isinstance(runner, SelfTimed)
        start = time.monotonic_ns()
        few = runner.timed_runs(_feeds(1), 50)
        many = runner.timed_runs(_feeds(512), 50)
        passed = time.monotonic_ns() - start
    assert (len(few), len(many)) == (50, 50)
    assert all(one > 0 for one in (*few, *many))
    assert sum(few) + sum(many) < passed
    assert np.median(many) > 10 * np.median(few)


def test_more_inputs_are_timed_than_stay_on_the_board(link: TvmBoard, folder: Path) -> None:
    pool = [_feeds(1 + 64 * (place % 2), place) for place in range(20)]
    with link.open(folder / "model.so", threads=1) as runner:
        for _ in range(2):
            medians = [float(np.median(runner.timed_runs(feeds, 20))) for feeds in pool]
    assert np.median(medians[1::2]) > 3 * np.median(medians[0::2])


def test_what_a_board_refuses_ends_no_session(
    link: TvmBoard, folder: Path, tmp_path: Path
) -> None:
    with link.open(folder / "model.so") as runner:
        with pytest.raises(DataError, match="the model takes Nx4x8x8"):
            runner.run({"image": np.zeros((1, 3, 8, 8), np.float32)})
        damaged = tmp_path / "model.so"
        damaged.write_bytes((folder / "model.so").read_bytes()[:-100])
        with pytest.raises(ArtifactError, match="cut short"):
            link.open(damaged)
        objects = tmp_path / "model.tar"
        objects.write_bytes(b"no objects")
        with pytest.raises(ArtifactError, match="cannot load it") as caught:
            link.open(objects)
        assert "\n" not in str(caught.value)
        assert runner.run(_feeds())


def test_a_library_for_another_architecture_is_not_sent(
    link: TvmBoard, folder: Path, tmp_path: Path
) -> None:
    library = bytearray((folder / "model.so").read_bytes())
    library[18:20] = b"\xb7\x00" if link.facts.architecture != "aarch64" else b"\x3e\x00"
    (tmp_path / "model.so").write_bytes(library)
    with pytest.raises(HostError, match=r"is for \w+, board .* is \w+"):
        link.open(tmp_path / "model.so")


def test_a_library_with_instructions_that_a_board_lacks_is_not_run(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = board_runner.facts_of
    flags = frozenset(host_facts(query_gpus=str).flags)
    if not flags:
        pytest.skip("this host does not tell its instruction sets")

    def poorer(session: Any) -> BoardFacts:
        return dataclasses.replace(own(session), lacking=flags)

    monkeypatch.setattr(board_runner, "facts_of", poorer)
    with (
        TvmBoard.connected(server.board(), timeout_s=20.0) as link,
        pytest.raises(HostError, match=r"which board .* has not"),
    ):
        link.open(folder / "model.so")


def test_nobody_there_is_one_line() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # and does not listen
        board = Board("127.0.0.1", one.getsockname()[1])
        with pytest.raises(BoardError, match=r"cannot be reached .* start 'python -m"):
            connect(board, timeout_s=5.0)


def test_a_board_that_is_busy_is_given_up(link: TvmBoard, server: Server) -> None:
    with pytest.raises(BoardError, match=r"did not answer for 1 s: another session is on it"):
        connect(server.board(), timeout_s=1.0)


def test_a_server_with_another_key_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, "--key", "kitchen") as server:
        with pytest.raises(BoardError, match="the server there has a key"):
            connect(server.board(), timeout_s=20.0)
        with pytest.raises(BoardError, match="another key than 'cellar'"):
            connect(server.board("cellar"), timeout_s=20.0)
        with TvmBoard.connected(server.board("kitchen"), timeout_s=20.0) as link:
            assert link.facts.architecture


def test_a_board_that_drops_off_is_one_line(tmp_path: Path, folder: Path) -> None:
    with serving(tmp_path) as server:
        link = TvmBoard.connected(server.board(), timeout_s=20.0)
        runner = link.open(folder / "model.so")
        runner.run(_feeds())
        server.kill()
        for action in (
            lambda: runner.run(_feeds()),
            lambda: runner.timed_runs(_feeds(), 3),
            lambda: link.open(folder / "model.so"),
        ):
            with pytest.raises(BoardError, match="dropped off") as caught:
                action()
            assert "\n" not in str(caught.value)


@needs_tracker
def test_a_tracker_finds_a_board(tmp_path: Path) -> None:
    with tracking(tmp_path) as tracker:
        place = f"127.0.0.1:{tracker.port}"
        with pytest.raises(BoardError, match="knows no board 'kitchen'; it has none"):
            connect(Board.parse(place, key="kitchen", is_tracker=True), timeout_s=20.0)
        with serving(tmp_path, "--tracker", place, "--key", "kitchen"):
            time.sleep(0.5)  # it registers
            with TvmBoard.connected(
                Board.parse(place, key="kitchen", is_tracker=True), timeout_s=20.0
            ) as link:
                assert link.facts.architecture
            with pytest.raises(BoardError, match="knows no board 'cellar'; it has kitchen"):
                connect(Board.parse(place, key="cellar", is_tracker=True), timeout_s=20.0)


def test_the_backend_reaches_boards() -> None:
    assert isinstance(TvmBackend(), Remote)
