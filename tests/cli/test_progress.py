from __future__ import annotations

import io
import sys
import threading

import pytest

from bmopt.cli.progress import shown_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_each_warning_once_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown_progress() as progress:
        progress.step("load")
        progress.advance(1, 2)
        progress.warn("odd\nvalue")
        progress.warn_all(["odd value", "other"])
    expected = "bmopt: warning: odd value\nbmopt: warning: other\n"
    assert capsys.readouterr() == ("", expected)


def test_a_terminal_gets_the_step_without_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    threads = threading.active_count()
    with shown_progress() as progress:
        progress.advance(0, 1)
        progress.step("calibrate")
        progress.advance(1, 1)
        progress.step("measure [it]")
        progress.warn("odd")
        assert threading.active_count() == threads
    shown = terminal.getvalue()
    assert "calibrate" in shown
    assert "measure [it]" in shown
    assert shown.count("bmopt: warning: odd") == 1


def test_plain_progress_leaves_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with shown_progress(plain=True) as progress:
        progress.step("calibrate")
    assert terminal.getvalue() == ""
