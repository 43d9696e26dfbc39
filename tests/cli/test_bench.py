"""``bmopt bench`` as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bmopt.core.bench_document import BenchDocument
from bmopt.demo_data import demo_files
from tests.cli.process import bmopt, process_environment

MODEL, DATA = str(demo_files().model), str(demo_files().val)
QUICK = ("--data", DATA, "--limit", "64", "--only", "latency", "--duration", "1", "--block", "4")
WORKER = b"bmopt.workflow.benching.worker"


def test_tables_for_people_and_files_for_later(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    page, stored = folder / "r.html", folder / "b.json"
    done = bmopt("bench", MODEL, MODEL, *QUICK, "--html", str(page), "-o", str(stored))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for text in ("digits.onnx #2", "Noise floor", "99 % interval", f"report: {page}"):
        assert text in done.stdout
    document = BenchDocument.from_json(stored.read_text(encoding="utf-8"))
    assert document.command.startswith(f"bmopt bench {MODEL} {MODEL} --data {DATA} --limit 64")
    assert "digits.onnx #2" in page.read_text(encoding="utf-8")
    again = bmopt("report", str(stored), "-o", str(folder / "again.html"))
    assert again.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["again.html", "b.json", "r.html"]


def test_json_is_all_there_is_on_stdout() -> None:
    done = bmopt("bench", MODEL, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["measurement"]["variants"] == ["digits.onnx"]
    assert BenchDocument.from_dict(document).noise_floor is not None


def test_a_gate_decides_the_exit_code() -> None:
    size = bmopt("bench", MODEL, "--against", MODEL, *QUICK, "--fail-if", "size -10%")
    assert size.returncode == 1
    assert "size" in size.stdout
    assert "failed" in size.stdout
    undecided = bmopt("bench", MODEL, "--against", MODEL, *QUICK, "--fail-if", "p99 +0.01%")
    assert undecided.returncode == 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--precision", "2"), "'2' is no share; write 2% or 0.02"),
        (("--duration", "0"), "'0' is not a number above 0"),
        (("--only", "speed"), "no section 'speed'"),
        (("--metric", "top2"), "did you mean top"),
        (("--fail-if", "p50"), "write NAME CHANGE"),
        (("--fail-if", "p50 +3%"), "--against"),
        (("--scenario", "burst"), "invalid choice: 'burst'"),
        (("--data", "nowhere.npz"), "nowhere.npz"),
        (("--html", "/proc/none/r.html"), "/proc"),
        (("--thread-counts", "0"), "'0' is not a whole number"),
    ],
)
def test_bad_input_is_one_line(flags: Sequence[str], said: str) -> None:
    done = bmopt("bench", MODEL, *QUICK, *flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_opened_is_named_and_the_rest_reported(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"not a model")
    done = bmopt("bench", MODEL, str(damaged), "missing.onnx", *QUICK)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("bmopt: error: ")]
    assert len(errors) == 2
    assert str(damaged) in errors[0]
    assert "missing.onnx" in errors[1]
    assert "damaged.onnx" in done.stdout
    assert "Noise floor" in done.stdout


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "bmopt", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process_environment(),
        start_new_session=True,
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def workers_of(pid: int) -> list[int]:
    """Return the processes of subjects below a process, oldest first."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found if WORKER in Path(f"/proc/{one}/cmdline").read_bytes()]


def busy(pid: int, count: int) -> list[int]:
    """Wait until ``count`` workers have been at work for a while, and return them."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            workers = workers_of(pid)
            ticks = [int(Path(f"/proc/{w}/stat").read_text().split()[13]) for w in workers]
            if len(workers) == count and min(ticks) > 150:
                return workers
        time.sleep(0.1)
    raise AssertionError("the workers never got to work")


needs_proc = pytest.mark.skipif(
    not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists(),
    reason="the kernel does not list children",
)
LONG = ("--data", DATA, "--only", "latency", "--duration", "60", "--precision", "0.0001")


@needs_proc
def test_a_process_that_is_killed_from_outside(tmp_path: Path) -> None:
    stored = tmp_path / "b.json"
    long = (*LONG[:-3], "8", *LONG[-2:])
    with running(MODEL, MODEL, *long, "-o", str(stored)) as child:
        os.kill(busy(child.pid, 3)[1], signal.SIGKILL)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "was killed by SIGKILL" in errors
    document = BenchDocument.from_json(stored.read_text(encoding="utf-8"))
    assert document.measurement is not None
    assert document.measurement.variants == ("digits.onnx",)
    assert "SIGKILL" in document.subjects[1].error


@needs_proc
def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    stored = tmp_path / "b.json"
    with running(MODEL, MODEL, *LONG, "-o", str(stored)) as child:
        workers = busy(child.pid, 3)
        os.kill(child.pid, signal.SIGINT)
        out, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in errors
    assert "Noise floor" in out
    document: Any = BenchDocument.from_json(stored.read_text(encoding="utf-8"))
    assert len(document.measurement.blocks) >= 4
    assert any("interrupted" in warning for warning in document.warnings)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
