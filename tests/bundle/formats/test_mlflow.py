from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle.formats.serving import write_format
from bmopt.bundle.manifest_json import read_manifest
from bmopt.errors import BundleError
from tests.bundle.formats.packed_models import (
    IMAGES,
    QUANTISED,
    TWO_INPUTS,
    golden,
    importable,
    write_packed,
)

SIZE = "MLflow is not installed (pip install mlflow-skinny pandas: about 150 MB)"


@pytest.mark.parametrize("text", [IMAGES, QUANTISED, TWO_INPUTS])
def test_mlflow_loads_and_predicts(tmp_path: Path, text: str) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc", reason=SIZE)
    bundle = write_packed(tmp_path / "bundle", text)
    write_format("mlflow", bundle, tmp_path / "model")
    feeds, answers = golden(bundle, read_manifest(bundle).models[0])
    model = pyfunc.load_model(str(tmp_path / "model"))
    forget_loader()
    assert [spec.name for spec in model.metadata.get_input_schema()] == list(feeds)
    assert [spec.name for spec in model.metadata.get_output_schema()] == list(answers)
    given = [feeds] if len(feeds) > 1 else [feeds, next(iter(feeds.values()))]
    for value in given:
        check(model.predict(value), answers)
    example = model.input_example
    check(model.predict(example), answers)


def test_mlflow_refuses_what_the_signature_does_not_allow(tmp_path: Path) -> None:
    pyfunc = pytest.importorskip("mlflow.pyfunc", reason=SIZE)
    from mlflow.exceptions import MlflowException

    write_format("mlflow", write_packed(tmp_path / "bundle", IMAGES), tmp_path / "model")
    model = pyfunc.load_model(str(tmp_path / "model"))
    forget_loader()
    with pytest.raises(MlflowException, match="shape"):
        model.predict({"pixels": np.zeros((1, 3, 9, 9), np.float32)})


@pytest.mark.parametrize("text", [IMAGES, TWO_INPUTS])
def test_loader_without_mlflow(tmp_path: Path, text: str) -> None:
    bundle = write_packed(tmp_path / "bundle", text)
    write_format("mlflow", bundle, tmp_path / "model")
    feeds, answers = golden(bundle, read_manifest(bundle).models[0])
    with importable(tmp_path / "model/code", "bmopt_pyfunc") as loader:
        model = loader._load_pyfunc(str(tmp_path / "model/data"))
        check(model.predict(feeds), answers)
        with pytest.raises(ValueError, match="is missing"):
            model.predict({})


def test_same_bundle_same_files(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, labels=["a", "b", "c", "d", "e"])
    for name in ("a", "b"):
        write_format("mlflow", bundle, tmp_path / name)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first == second
    assert "data/index_to_name.json" in first
    assert json.loads(first["serving_input_example.json"])["inputs"].keys() == {"pixels"}


def test_one_model_only(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES, QUANTISED)
    with pytest.raises(BundleError, match="holds one model"):
        write_format("mlflow", bundle, tmp_path / "model")


def check(found: dict[str, Any], answers: dict[str, Any]) -> None:
    assert found.keys() == answers.keys()
    for name, expected in answers.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-4, rtol=0)


def forget_loader() -> None:
    """MLflow leaves the model's code folder on the path, and its modules loaded."""
    import sys

    for name in ("bmopt_pyfunc", "bmopt_session", "bmopt_pixels"):
        sys.modules.pop(name, None)
    sys.path[:] = [entry for entry in sys.path if os.path.basename(entry) != "code"]  # noqa: PTH119


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
