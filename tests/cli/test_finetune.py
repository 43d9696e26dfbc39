"""``bmopt finetune`` as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.demo_data import demo_files
from tests.cli.process import process_environment

pytest.importorskip("torch")

MODEL, DATA = str(demo_files().model), str(demo_files().calib)
QUICK = ("--batch", "32", "--threads", "1", "--precision", "fp32", "--lr", "0.0005")


def test_it_prints_epochs_and_writes_the_model(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", DATA, "--epochs", "1", "-o", "tuned.onnx", *QUICK)
    assert main(["finetune", MODEL, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epoch", "loss", "top1", "time"]
    assert lines[1].split()[:2] == ["start", "-"]
    assert lines[-1].startswith("tuned.onnx: weights of epoch ")
    assert (own_folder / "tuned.onnx").is_file()


def test_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--data", DATA, "--epochs", "1", "-o", "t.onnx", "--teacher", MODEL, "--json", *QUICK)
    assert main(["finetune", MODEL, *flags]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["out"] == "t.onnx"
    assert document["metric"] == "top1"
    assert [epoch["number"] for epoch in document["history"]] == [0, 1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--time", "5"), "time '5'"),
        (("--time", "soon"), "time 'soon'"),
        (("--augment", "spin"), "write flip"),
        (("--label-weight", "2"), "label weight"),
        (("--features", "auto"), "give --teacher"),
    ],
)
def test_wrong_options_are_one_line(
    flags: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", MODEL, "--data", DATA, "-o", "t.onnx", *flags]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_a_killed_run_is_taken_up(own_folder: Path) -> None:
    flags = ("--data", DATA, "--epochs", "4", "-o", "tuned.onnx", "--json", *QUICK)
    command = [sys.executable, "-m", "bmopt", "finetune", MODEL, *flags]
    state = own_folder / "tuned.onnx.checkpoint"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=process_environment()
    ) as process:
        limit = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    if not state.exists():
        pytest.skip("it was done before it could be killed")
    assert not (own_folder / "tuned.onnx").exists()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=process_environment()
    )
    document = json.loads(done.stdout)
    assert document["resumed_at"] > 0
    assert len(document["history"]) == 5
    assert not state.exists()
