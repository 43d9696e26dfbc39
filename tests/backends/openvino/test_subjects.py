"""``openvino:file`` as users name it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.errors import ModelError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.workflow.subjects import open_subject, runner_opener
from tests.backends.openvino.models import images, ir_of, onnx_file
from tests.cli.process import bmopt


def test_an_ir(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))
    weights = path.with_suffix(".bin")
    with open_subject(f"openvino:{path}", threads=1) as found:
        assert (found.name, found.kind, found.target) == ("openvino:m.xml", "engine", "openvino")
        assert found.size_bytes == path.stat().st_size + weights.stat().st_size
        assert found.inputs == (InputSpec("image", "float32", (None, 3, 8, 8)),)
        assert (found.path, found.graph) == (path, None)
        assert found.runner.run(images(2))["scores"].shape == (2, 5)
        assert found.profile is not None
        assert found.profile([images(1)], 1, 0.1).engine == "openvino"


def test_the_digest_is_that_of_both_files(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))

    def digest() -> str:
        with open_subject(f"openvino:{path}") as found:
            return found.digest

    first = digest()
    assert digest() == first
    for file in (path.with_suffix(".bin"), path):
        before = file.read_bytes()
        # Behind the end: a trailing byte of the weights, a line break of the XML.
        file.write_bytes(before + b"\n")
        assert digest() != first
        file.write_bytes(before)
    assert digest() == first


def test_an_onnx_file(tmp_path: Path) -> None:
    path = onnx_file(tmp_path)
    with open_subject(f"openvino:{path}") as found, open_subject(str(path)) as plain:
        assert (found.name, found.kind, found.target) == ("openvino:m.onnx", "engine", "openvino")
        assert found.digest == plain.digest == model_digest(load_model(path))
        assert (found.size_bytes, found.graph) == (path.stat().st_size, path)
        assert found.inputs == plain.inputs
        feeds = images(3)
        np.testing.assert_allclose(
            found.runner.run(feeds)["scores"], plain.runner.run(feeds)["scores"], rtol=1e-5
        )


def test_an_opener_opens(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))
    with runner_opener(f"openvino:{path}", threads=1)() as runner:
        assert runner.output_names == ("scores", "seen")


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_text("x")
    with pytest.raises(UsageError, match=r"openvino runs \.xml or \.onnx files"):
        open_subject(f"openvino:{tmp_path / 'm.tflite'}")
    with pytest.raises(ModelError, match="no such file"):
        open_subject(f"openvino:{tmp_path / 'none.xml'}")


def test_compare_with_the_source(tmp_path: Path) -> None:
    source = onnx_file(tmp_path)
    model = f"openvino:{ir_of(source)}"
    tolerance = ("--rtol", "1e-4", "--atol", "1e-5")
    done = bmopt("compare", str(source), model, "--data", "random:4", "--json", *tolerance)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["b"]["target"] == "openvino"
    assert [output["name"] for output in document["outputs"]] == ["scores", "seen"]
    exact = bmopt("compare", model, model, "--data", "random:4", "--atol", "0", "--json")
    assert exact.returncode == 0, exact.stderr


def test_a_broken_ir_ends_a_command_in_one_line(tmp_path: Path) -> None:
    path = ir_of(onnx_file(tmp_path))
    path.with_suffix(".bin").unlink()
    done = bmopt("compare", f"openvino:{path}", f"openvino:{path}", "--data", "random:4")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "m.bin has to lie beside it" in done.stderr
