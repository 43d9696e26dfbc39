"""Boards on the command line, without any: what is refused before one is reached."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bmopt.cli.board_options import add_board, board_of, board_text
from bmopt.cli.main import main
from bmopt.core.board import Board
from bmopt.demo_data import demo_files

MODEL = str(demo_files().model)


def _board(*words: str) -> Board | None:
    parser = argparse.ArgumentParser()
    add_board(parser, "run")
    return board_of(parser.parse_args(words))


def test_a_board_is_named_in_either_way() -> None:
    assert _board() is None
    assert _board("--remote", "pi:9090") == Board("pi", 9090)
    assert _board("--remote", "pi:9090", "--board", "k") == Board("pi", 9090, "k")
    tracker = _board("--tracker", "desk:9190", "--board", "pi4")
    assert tracker == Board("desk", 9190, "pi4", is_tracker=True)


def test_recipes_have_a_board_as_text() -> None:
    parser = argparse.ArgumentParser()
    add_board(parser, "run")
    words = ("--tracker", "desk:9190", "--board", "pi4")
    assert board_text(parser.parse_args(words)) == "tracker desk:9190/pi4"
    assert board_text(parser.parse_args([])) is None


@pytest.mark.parametrize("verb", [("bench", MODEL), ("compile", MODEL), ("build", MODEL)])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--remote", "pi"), "'pi' is no board; write HOST:PORT"),
        (("--remote", "pi:1", "--tracker", "pi:2"), "give one of them"),
        (("--tracker", "pi:2"), "say with --board KEY"),
        (("--board", "pi4"), "say with --remote or --tracker where it is"),
    ],
)
def test_what_names_no_board_is_one_line(
    verb: tuple[str, str],
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*verb, *words]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_bench_wants_something_for_the_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", MODEL, "--remote", "localhost:1"]) == 2
    assert "no subject is an artifact compiled for tvm-*" in capsys.readouterr().err


def test_only_tvm_compiles_for_boards(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    words = ("compile", MODEL, "--target", "ort-fp32", "--remote", "localhost:1", "-o", out)
    assert main(words) == 2
    assert "only what is compiled for tvm-*" in capsys.readouterr().err
