"""What several tests of TVM's backend run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backends.tvm.installed import RESIDUAL, compiled, model_of, saved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of two outputs, ``model.onnx``, and its library, ``model.so``."""
    place = tmp_path_factory.mktemp("library")
    compiled(saved(model_of(RESIDUAL), place), place / "model.so")
    return place
