from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.cli.main import main
from bmopt.demo_data import demo_files
from bmopt.graph.model_io import load_model, save_model
from bmopt.optimizer.passes.sparsify import Sparsify

MODEL = demo_files().model


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sparse") / "model.onnx"
    model = load_model(MODEL)
    Sparsify(exclude=("head_conv",))(model)
    save_model(model, path)
    return path


def test_zeros_and_patterns_are_shown(sparse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(sparse), "--sparsity"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "50.0 %" in rows["left_conv"]
    assert "2:4" in rows["left_conv"]
    assert "0.0 %" in rows["head_conv"]
    assert "2:4 along the channels that are summed over: 4 of 7 products" in printed


def test_the_document_has_the_same(sparse: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(sparse), "--sparsity", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    products = {one["node"]: one for one in document["products"]}
    assert products["left_conv"]["share"] == 0.5
    assert products["left_conv"]["patterns"] == ["2:4", "4:8", "8:16"]
    assert products["head_conv"]["zeros"] == 0
    assert document["zeros"] == sum(one["zeros"] for one in products.values())
    assert document["share"] == document["zeros"] / document["weights"]


def test_a_dense_model_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(MODEL), "--sparsity"]) == 0
    assert "0 of 7 products" in capsys.readouterr().out


def test_an_artifacts_graph_is_looked_into(
    tmp_path: Path, sparse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["compile", str(sparse), "--target", "ort-fp32", "-o", str(tmp_path / "a")]
    assert main([*argv, "--duration", "0"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "a"), "--sparsity"]) == 0
    assert "4 of 7 products" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [("--layers",), ("--shapes", "image:1x1x16x16")])
def test_options_that_do_not_go_together(
    flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(MODEL), "--sparsity", *flags]) == 2
    assert "leave out --shapes and --layers" in capsys.readouterr().err
