from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime import session
from bmopt.backends.onnxruntime.session import (
    OrtRunner,
    SessionConfig,
    open_file,
    open_model,
    open_plain,
)
from bmopt.core.runner import Array
from bmopt.errors import DataError, ModelError
from bmopt.graph.model_io import load_model, save_model
from tests.quantizing import CONV_NET, as_bytes, named, samples_for


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes(named(CONV_NET)))
    return path


def feeds(count: int = 2) -> dict[str, Array]:
    return samples_for(named(CONV_NET), count=count)


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 500
    return text


def write_random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(1000))


def write_truncated(path: Path) -> None:
    path.write_bytes(as_bytes(named(CONV_NET))[:-500])


def write_unknown_op(path: Path) -> None:
    model = named(CONV_NET)
    model.graph.node("r1").op_type = "NoSuchOp"
    path.write_bytes(as_bytes(model))


@pytest.mark.parametrize(
    "write", [lambda path: None, Path.mkdir, write_random, write_truncated, write_unknown_op]
)
def test_a_file_that_is_refused_ends_in_one_line(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    path = tmp_path / "broken.onnx"
    write(path)
    with pytest.raises(ModelError) as caught:
        open_file(path)
    assert one_line(caught.value).startswith(f"{path}: ONNX Runtime refuses it (")


def test_a_refused_model_in_memory_ends_in_one_line() -> None:
    model = named(CONV_NET)
    model.graph.node("r1").op_type = "NoSuchOp"
    with pytest.raises(ModelError, match="the model: ONNX Runtime refuses it") as caught:
        open_model(model)
    one_line(caught.value)


IMAGE = np.zeros((1, 8, 10, 10), np.float32)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"image": IMAGE},
        {"x": IMAGE, "extra": IMAGE},
        {"x": IMAGE.astype(np.float64)},
        {"x": IMAGE.astype(np.uint8)},
        {"x": IMAGE[0]},
        {"x": IMAGE[:, :3]},
        {"x": None},
        {"x": "text"},
        {"x": 1.0},
        {1: IMAGE},
    ],
    ids=str,
)
def test_wrong_feeds_end_in_one_line(model_file: Path, wrong: Mapping[Any, Any]) -> None:
    with open_file(model_file) as runner, pytest.raises(DataError) as caught:
        runner.run(wrong)
    assert one_line(caught.value).startswith("ONNX Runtime cannot run these inputs (")


def test_any_mapping_is_fed(model_file: Path) -> None:
    with open_file(model_file) as runner:
        one = runner.run(types.MappingProxyType(feeds()))
        np.testing.assert_array_equal(one["y"], runner.run(feeds())["y"])


def test_answers_are_fresh_arrays(model_file: Path) -> None:
    with open_file(model_file) as runner:
        first = runner.run(feeds())["y"]
        kept = first.copy()
        runner.run({"x": IMAGE})
        np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("level", ["off", "basic", "all"])
def test_levels_agree(model_file: Path, level: session.Level) -> None:
    with open_file(model_file, SessionConfig(threads=1, level=level)) as runner:
        got = runner.run(feeds())["y"]
    with open_plain(named(CONV_NET)) as runner:
        np.testing.assert_allclose(got, runner.run(feeds())["y"], rtol=1e-4, atol=1e-5)


def test_the_optimised_graph_is_dumped(model_file: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump.onnx"
    with open_file(model_file, SessionConfig(threads=1, dump=dump)):
        pass
    assert {node.op_type for node in onnx.load(dump).graph.node} & {"FusedConv", "Conv"}


def test_a_profile_is_written(model_file: Path, tmp_path: Path) -> None:
    runner: OrtRunner = open_file(model_file, SessionConfig(profile=tmp_path / "profile"))
    runner.run(feeds())
    events = json.loads(Path(runner.session.end_profiling()).read_text())
    assert any(event.get("cat") == "Node" for event in events)


@pytest.mark.parametrize("inline", [True, False])
def test_weights_beside_the_model_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    if not inline:
        monkeypatch.setattr(session, "_INLINE_BYTES", 0)
    model = named(CONV_NET)
    save_model(model, tmp_path / "split.onnx", single_file_bytes=0)
    assert (tmp_path / "split.onnx.data").is_file()
    loaded: ir.Model = load_model(tmp_path / "split.onnx")
    with open_plain(loaded) as one, open_plain(model) as other:
        np.testing.assert_array_equal(one.run(feeds())["y"], other.run(feeds())["y"])
