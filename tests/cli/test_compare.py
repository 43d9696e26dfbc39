"""``bmopt compare`` on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.demo_data import demo_files
from tests.workflow.demo_runs import write_text_model

MODEL = str(demo_files().model)
CHAIN = """
g (float[2] x) => (float[2] y) {{
  a = Relu(x)  k = Constant<value_float = {}>()  b = Add(a, k)  y = Neg(b)
}}
"""


@pytest.fixture
def pair(own_folder: Path) -> tuple[str, str]:
    for name, value in (("a.onnx", 0.5), ("b.onnx", 0.25)):
        write_text_model(own_folder / name, CHAIN.format(value))
    return "a.onnx", "b.onnx"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(("compare", *arguments))
    return code, capsys.readouterr().out


def test_table_and_verdict(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, text = printed(capsys, *pair, "--atol", "0.2")
    lines = text.splitlines()
    assert code == 1
    assert lines[1].split()[:3] == ["A", "a.onnx", "ort"]
    headers = "output max abs mean abs max rel outside cosine SQNR dB NaN/Inf argmax"
    assert " ".join(lines[4].split()) == headers
    assert lines[5].split()[:3] == ["y", "0.25", "0.25"]
    assert lines[6].startswith("output y differs most in batch ")
    assert lines[-1] == "NOT equal within atol 0.2, rtol 0 on 16 samples of random:16"


def test_codes(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, *pair)[0] == 0
    assert printed(capsys, *pair, "--atol", "0.26")[0] == 0
    assert printed(capsys, *pair, "--rtol", "1e-3")[0] == 1
    code, text = printed(capsys, MODEL, f"ort:{MODEL}", "--atol", "0", "--data", "random:3")
    assert code == 0
    assert text.endswith("\nequal within atol 0, rtol 0 on 3 samples of random:3\n")


def test_layers_name_the_first_that_differs(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, text = printed(capsys, *pair, "--layers", "--atol", "0.1")
    assert "\n3 tensors in common; the first outside the tolerance is b; the lowest SQNR" in text
    _, text = printed(capsys, *pair, "--layers", "--atol", "1")
    assert "\n3 tensors in common; all equal; " in text


def test_json_is_one_document(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--json", "--layers", "--rtol", "0.5", "--seed", "3", "--limit", "2")
    code, text = printed(capsys, *pair, *flags)
    document = json.loads(text, parse_constant=pytest.fail)
    assert code == 1
    assert document["equal"] is False
    assert document["samples"] == 2
    assert document["tolerance"] == {"atol": 0.0, "rtol": 0.5}
    assert [layer["name"] for layer in document["layers"]] == ["a", "b", "y"]
    assert document["layers"][0]["sqnr_db"] == "inf"
    assert document["outputs"][0]["max_abs"] == pytest.approx(0.25)
    assert document["a"]["text"] == "a.onnx"


def test_what_was_stored_stands_in_for_b(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, *pair, "--save", "golden.npz")[0] == 0
    code, text = printed(capsys, "a.onnx", "--load", "golden.npz", "--atol", "0")
    assert code == 0
    assert "B  a.onnx (stored in golden.npz)  ort" in text
    assert printed(capsys, "b.onnx", "--load", "golden.npz", "--atol", "0")[0] == 1


def test_what_cannot_be_compared_is_told(
    pair: tuple[str, str], own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "g (float[2] x) => (float[1] y, float[2] z) { y = ReduceSum(x)  z = Abs(x) }"
    write_text_model(own_folder / "c.onnx", text)
    code, text = printed(capsys, pair[0], "c.onnx", "--rtol", "1")
    assert code == 1
    assert "\noutput z is in B only\n" in text
    assert "\noutput y cannot be compared: shape 2 against 1\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.onnx",), "compare two models, or one with the outputs in --load FILE"),
        (("a.onnx", "a.onnx", "a.onnx"), "3 models: compare two, A and B"),
        (("a.onnx", "none.onnx"), "none.onnx: no such file"),
        (("a.onnx", "tvm:m.so"), "no engine 'tvm'"),
        (("a.onnx", "b.onnx", "--atol", "-1"), "atol=-1.0: give a number, 0 or more"),
        (("a.onnx", "b.onnx", "--data", "none.npz"), "none.npz: no such file"),
        (("a.onnx", MODEL), "have different inputs: 'image' is missing against float32"),
    ],
)
@pytest.mark.usefixtures("pair")
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("compare", *arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("bmopt: error: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
