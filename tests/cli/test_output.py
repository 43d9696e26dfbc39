from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from bmopt.cli.output import print_json, print_table, say
from tests.cli.process import python


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_has_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("inf"), -float("inf"), 1.5], "b": (float("nan"), Path("x"), None)})
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document == {"a": ["inf", "-inf", 1.5], "b": ["nan", "x", None]}


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"n\u00f6de": 1})
    assert capsys.readouterr().out.isascii()


def test_a_table_in_a_pipe_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n"), [("a", "5"), ("b" * 300 + "\n[red]", "12")], right=(1,))
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "name" + " " * 302 + "   n"
    assert second == "a" + " " * 305 + "   5"
    assert third == "b" * 300 + " [red]" + "  12"


def test_a_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [])
    assert capsys.readouterr().out == ""


def test_a_terminal_folds_and_keeps_every_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_table(("name", "n"), [("x" * 50, "123456")], right=(1,))
    say(":smile: [bold]literal[/bold]", style="bold")
    shown = terminal.getvalue()
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.splitlines()) <= 30
    assert shown.count("x") == 50
    assert "123456" in shown
    assert ":smile: [bold]literal[/bold]" in shown


def test_a_pipe_needs_no_rich() -> None:
    code = (
        "from bmopt.cli.output import print_table, say; import sys;"
        "print_table(('a',), [('b',)]); say('c', style='bold'); print('rich' in sys.modules)"
    )
    assert python("-c", code).stdout == "a\nb\nc\nFalse\n"
