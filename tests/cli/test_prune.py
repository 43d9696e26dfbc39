"""``bmopt prune`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.cli.pruning_summary import print_pruning
from bmopt.core.prune_trials import Point
from bmopt.demo_data import demo_files

MODEL, DATA = str(demo_files().model), str(demo_files().calib)
QUICK = ("--calib", DATA, "--calib-limit", "64", "--val-limit", "64")


def test_a_table_and_the_model(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", MODEL, "--macs", "0.6", *QUICK, "-o", "small.onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["latency", "drop", "agreement"]
    assert [line.split()[0] for line in lines[1:3]] == ["source", "cut"]
    assert lines[-1] == "pruned model: small.onnx"
    assert {path.name for path in own_folder.iterdir()} == {"small.onnx", "small.prune.json"}


def test_one_document(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del own_folder
    flags = ("--parameters", "0.001", *QUICK, "-o", "small.onnx", "--json")
    assert main(["prune", MODEL, *flags]) == 3
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["missed"]
    assert document["chosen"] == "cut 1"


@pytest.mark.parametrize(("latency", "is_said"), [(1.5, True), (0.7, False)])
def test_a_cut_that_slows_the_model_is_said(
    latency: float, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [
        Point(name, "", 1.0, 1.0, 100, took, (took - 0.01, took + 0.01), drop=0.0).to_dict()
        for name, took in (("source", 1.0), ("cut 1", latency))
    ]
    print_pruning(
        {"trials": points, "pareto": [], "chosen": "cut 1", "target": "ort-fp32", "metric": "",
         "missed": [], "groups": {"c": [8, 4]}, "sparsity": None, "refused": {}}
    )  # fmt: skip
    said = "slower: the chosen model takes 1.50 x the latency of the uncut one on ort-fp32"
    assert (said in capsys.readouterr().out.replace("\n", " ")) is is_said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "say how much may go"),
        (("--macs", "0.5", "--latency", "0.5"), "give one of --latency, --macs and --parameters"),
        (("--macs", "2"), "above 0 and below 1"),
        (("--max-drop", "nan"), "give points of the metric"),
        (("--plan", "missing.json"), "missing.json: cannot be read"),
        (("--sparsity", "2:1"), "2:1"),
    ],
)
def test_bad_input_is_one_line(
    own_folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert main(["prune", MODEL, *flags, *QUICK, "-o", "small.onnx"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if "error" in line]) == 1
    assert message in told[-1]
    assert not list(own_folder.iterdir())
