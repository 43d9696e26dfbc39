from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import onnx_ir as ir
import onnxruntime as ort
import pytest

from bmopt.backends.onnxruntime import engine_cache
from bmopt.backends.onnxruntime.engine_cache import engine_folder, timing_folder
from bmopt.core.engine import BuildOptions
from bmopt.graph.model_io import save_model
from tests.backends.onnxruntime.pretend_gpu import GPU
from tests.quantizing import CONV_NET, as_bytes, named

NONE = BuildOptions()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes(named(CONV_NET)))
    return path


def test_the_same_model_has_the_same_folder_wherever_it_lies(
    model: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "other").mkdir()
    copy = Path(shutil.copy(model, tmp_path / "other"))
    folder = engine_folder(model, NONE, GPU)
    assert engine_folder(copy, NONE, GPU) == folder
    assert folder.parents[2] == cache
    assert folder.parent.name == folder.name[:2]


def test_other_weights_under_the_same_names_have_another_folder(model: Path) -> None:
    before = engine_folder(model, NONE, GPU)
    changed = named(CONV_NET)
    weight = changed.graph.initializers["w1"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() + 1, name="w1")
    model.write_bytes(as_bytes(changed))
    assert engine_folder(model, NONE, GPU) != before


def test_weights_beside_the_model_count(tmp_path: Path) -> None:
    path = tmp_path / "split.onnx"
    save_model(named(CONV_NET), path, single_file_bytes=0)
    before = engine_folder(path, NONE, GPU)
    data = tmp_path / "split.onnx.data"
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert engine_folder(path, NONE, GPU) != before


def test_what_an_engine_depends_on_is_in_its_key(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [
        engine_folder(model, NONE, GPU),
        engine_folder(model, BuildOptions(level=5), GPU),
        engine_folder(model, NONE, dataclasses.replace(GPU, driver="590")),
        engine_folder(model, NONE, dataclasses.replace(GPU, name="H100")),
        engine_folder(model, NONE, dataclasses.replace(GPU, compute="8.9")),
    ]
    monkeypatch.setattr(engine_cache, "nvinfer_version", lambda: 101400)
    folders.append(engine_folder(model, NONE, GPU))
    monkeypatch.setattr(ort, "__version__", "0")
    folders.append(engine_folder(model, NONE, GPU))
    assert len(set(folders)) == len(folders)


def test_timings_are_shared_by_models_but_not_by_gpus() -> None:
    assert timing_folder(GPU) == timing_folder(GPU)
    assert timing_folder(GPU) != timing_folder(dataclasses.replace(GPU, name="H100"))
