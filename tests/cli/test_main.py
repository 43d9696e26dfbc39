"""The command line as a whole: help, versions, wrong usage, failures, start-up time."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

import bmopt as package
from bmopt.cli import main as command
from bmopt.cli.verb import Verb
from bmopt.errors import HostError, ModelError
from tests.cli.process import bmopt, process_environment, python

VERBS = (
    "compile",
    "optimize",
    "calibrate",
    "inspect",
    "report",
    "targets",
    "doctor",
    "cache",
    "demo",
)


def test_help_names_every_verb() -> None:
    done = bmopt("--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert all(f"\n    {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main([verb, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: bmopt {verb}")


def test_version() -> None:
    done = bmopt("--version")
    assert (done.returncode, done.stdout) == (0, f"bmopt {package.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bmopt: error: the following arguments are required: VERB"),
        (["explode"], "bmopt: error: argument VERB: invalid choice: 'explode'"),
        (["compile"], "bmopt compile: error: the following arguments are required: MODEL"),
        (["optimize", "m.onnx"], "bmopt optimize: error: the following arguments are required"),
        (["calibrate", "m.onnx"], "bmopt calibrate: error: the following arguments are required"),
        (["compile", "m.onnx", "--thre", "2"], "bmopt: error: unrecognized arguments: --thre"),
        (["compile", "m.onnx", "--threads", "0"], "'0' is not a whole number, 1 or more"),
        (["compile", "m.onnx", "--calib-limit", "-3"], "'-3' is not a whole number, 0 or more"),
        (["compile", "m.onnx", "--duration", "nan"], "'nan' is not a number of seconds"),
        (["compile", "m.onnx", "--seed", "x"], "'x' is not a whole number, 0 or more"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.endswith("--help)\n")
    assert printed.err.count("\n") == 1


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(arguments: argparse.Namespace) -> NoReturn:
        raise error

    return run


def run_failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    verb = Verb("fail", "fail", lambda parser: None, raising(error))
    monkeypatch.setattr(command, "VERBS", (verb,))
    return command.main(["fail"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("m.onnx: bad\n  twice"), 2, "bmopt: error: m.onnx: bad twice\n"),
        (HostError("no such engine"), 6, "bmopt: error: no such engine\n"),
        (KeyboardInterrupt(), 130, "bmopt: interrupted; finished steps are in the cache\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.onnx"),
            2,
            "bmopt: error: x.onnx: No space left on device; make room and try again\n",
        ),
    ],
)
def test_failures_are_one_line(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_failing(error, monkeypatch) == code
    assert capsys.readouterr() == ("", line)


def test_lack_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_failing(MemoryError(), monkeypatch) == 6
    assert capsys.readouterr().err.startswith("bmopt: error: out of memory; ")


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "a bug")])
def test_bugs_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error), match="a bug"):
        run_failing(error, monkeypatch)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently on Windows")
def test_a_closed_pipe_is_silent() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bmopt", "cache"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=process_environment(),
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.wait(timeout=60) == 141
        assert child.stderr.read() == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_device_is_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "bmopt", "cache"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=process_environment(),
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_any_terminal_can_show_any_name() -> None:
    done = bmopt("inspect", "n\u00e9ant.onnx", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr == "bmopt: error: n\\xe9ant.onnx: no such file\n"


@pytest.mark.parametrize("statement", ["import bmopt", "import bmopt.cli.main"])
def test_nothing_heavy_is_imported_at_first(statement: str) -> None:
    heavy = "{'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'rich', 'PIL', 'dataclasses'}"
    done = python("-c", f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("arguments", [("-m", "bmopt", "--help"), ("-c", "import bmopt")])
def test_starts_at_once(arguments: tuple[str, ...]) -> None:
    assert min(seconds_of(arguments) for _ in range(3)) < 0.6


def seconds_of(arguments: tuple[str, ...]) -> float:
    begin = time.monotonic()
    assert python(*arguments).returncode == 0
    return time.monotonic() - begin
