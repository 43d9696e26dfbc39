"""Specs as users write them, distinct data sets, the demo's files, and the shared models."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bmopt.core.dataset import Dataset, InputSpec
from bmopt.data.distinct import require_distinct
from bmopt.data.open import open_dataset
from bmopt.data.preprocess import Preprocess
from bmopt.demo_data import demo_files
from bmopt.errors import BmoptError, DataError, UsageError
from tests.shared_data import needs_shared, shared_dir

SPEC = InputSpec("x", "float32", ("N", 2))
DIGIT = InputSpec("image", "float32", ("N", 1, 16, 16))


def saved(path: Path, value: float = 0.0) -> Path:
    np.savez(path, x=np.full((4, 2), value, np.float32))
    return path


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("nowhere.npz", DataError, "nowhere.npz: no such file or folder; give an .npz"),
        ("nowhere", DataError, "nowhere: no such file or folder"),
        ("nowhere.npz?scale=1", DataError, "nowhere.npz: no such file"),
        ("{tmp}/data.npz?scael=1", UsageError, "unknown key 'scael'"),
        ("{tmp}/data.npz?scale", UsageError, "not of the form key=value"),
        ("{tmp}/data.bin", DataError, "is not a known kind of data"),
        (3, UsageError, "int: is no data set"),
    ],
)
def test_refuses_unknown_forms(
    tmp_path: Path, spec: Any, kind: type[BmoptError], message: str
) -> None:
    saved(tmp_path / "data.npz")
    (tmp_path / "data.bin").write_bytes(b"1")
    text = spec.format(tmp=tmp_path) if isinstance(spec, str) else spec
    with pytest.raises(kind) as caught:
        open_dataset(text, [SPEC])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_a_limit_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        open_dataset(saved(tmp_path / "a.npz"), [SPEC], limit=0)


def test_query_overrides_options_override_toml(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", 1.0)
    (tmp_path / "a.toml").write_text("scale = 2\nmean = 3\nstd = 5\n")
    options = Preprocess(mean=(0.0,), std=(1.0,))
    (batch,) = open_dataset(f"{path}?std=4", [SPEC], options).batches(4)
    assert np.array_equal(batch.feeds["x"], np.full((4, 2), 0.5))


def test_a_path_with_a_question_mark_that_exists_is_the_path(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz")
    odd = path.rename(tmp_path / "a?b.npz")
    assert open_dataset(str(odd), [SPEC]).size == 4


def test_an_open_data_set_is_returned_as_it_is(tmp_path: Path) -> None:
    dataset = open_dataset(saved(tmp_path / "a.npz"), [SPEC])
    assert open_dataset(dataset, [SPEC]) is dataset
    with pytest.raises(UsageError, match="already open"):
        open_dataset(dataset, [SPEC], limit=1)


def test_name_is_what_was_written(tmp_path: Path) -> None:
    text = f"{saved(tmp_path / 'a.npz')}?scale=2"
    assert open_dataset(text, [SPEC]).name == text


def test_calibration_and_validation_must_differ(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a.npz", 1.0), saved(tmp_path / "b.npz", 2.0)
    copy = saved(tmp_path / "c.npz", 1.0)
    a, b = open_dataset(first, [SPEC]), open_dataset(second, [SPEC])
    require_distinct(a, b)
    same = [open_dataset(copy, [SPEC]), open_dataset(f"{first}?scale=2", [SPEC], limit=1), a]
    for other in same:
        with pytest.raises(DataError, match="use the same samples"):
            require_distinct(a, other)


def test_random_sets_differ_by_seed() -> None:
    def opened(seed: int) -> Dataset:
        return open_dataset("random:4", [SPEC], seed=seed)

    require_distinct(opened(0), opened(1))
    with pytest.raises(DataError, match="use the same samples"):
        require_distinct(opened(0), opened(0))


def test_demo_model_and_samples_fit_and_are_accurate() -> None:
    files = demo_files()
    calib, val = (open_dataset(path, [DIGIT]) for path in (files.calib, files.val))
    require_distinct(calib, val)
    session = ort.InferenceSession(files.model, providers=["CPUExecutionProvider"])
    hits = [
        session.run(None, dict(batch.feeds))[0].argmax(axis=1) == batch.labels
        for batch in val.batches(100)
    ]
    assert (calib.size, val.size) == (200, 600)
    assert np.concatenate(hits).mean() >= 0.97
    seen = {image.tobytes() for b in calib.batches(100) for image in b.feeds["image"]}
    assert not any(i.tobytes() in seen for b in val.batches(100) for i in b.feeds["image"])


def test_demo_is_small_valid_and_leaves_work_to_do() -> None:
    files = demo_files()
    model = onnx.load(files.model)
    onnx.checker.check_model(model, full_check=True)
    assert sum(path.stat().st_size for path in (files.model, files.calib, files.val)) < 500_000
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 6


def _measure(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shared_measure", folder / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _data_spec(folder: Path, entry: dict[str, Any]) -> str:
    steps, data = entry["preprocess"], entry["data"]["val"]
    options = [f"{key}={data[key]}" for key in ("x", "y") if key in data]
    if steps["kind"] == "image":
        means, stds = (",".join(map(str, steps[key])) for key in ("mean", "std"))
        options += [f"scale={steps['scale']}", f"mean={means}", f"std={stds}"]
        options += [f"channels={steps['channels']}"]
    if "center_crop" in steps:
        options.append(f"crop={steps['center_crop']}")
    # The images' folder itself: its labels lie beside it.
    path = data["file"].replace("val_labels.csv", "val")
    return f"{folder / path}?{'&'.join(options)}"


@needs_shared
@pytest.mark.zoo
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v1_025_224_imagenet", "resnet20_cifar10", "vit_pgd_cifar10", "dscnn_kws"],
)
def test_shared_models_get_the_very_bits_that_their_figures_were_measured_on(name: str) -> None:
    folder = shared_dir()
    assert folder is not None
    entry = json.loads((folder / "manifest.json").read_text())["models"][name]
    described = entry["input"]
    spec = InputSpec(described["name"], described["dtype"], tuple(described["shape"]))
    dataset = open_dataset(_data_spec(folder, entry), [spec], limit=100)
    batches = list(dataset.batches(32))
    measure = _measure(folder)
    x, y = measure.images(entry, "val")
    assert dataset.size == 100
    assert np.array_equal(np.concatenate([b.labels for b in batches]), y[:100])
    fed = np.concatenate([b.feeds[spec.name] for b in batches])
    expected = measure.prep(entry, x[:100])
    assert fed.dtype == expected.dtype
    assert np.array_equal(fed, expected)
