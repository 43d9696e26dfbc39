from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest

from bmopt.errors import BmoptError, UsageError
from bmopt.workflow.source import as_file
from tests.workflow.demo_runs import DEMO

WITH_TORCH = all(importlib.util.find_spec(name) for name in ("torch", "onnxscript"))


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_itself(kind: Callable[[Path], str | Path]) -> None:
    with as_file(kind(DEMO.model)) as path:
        assert path == DEMO.model
    assert DEMO.model.is_file()


@pytest.mark.parametrize("read", [onnx.load, ir.load])
def test_a_model_in_memory_becomes_a_file_for_a_while(read: Callable[[Path], Any]) -> None:
    with as_file(read(DEMO.model)) as path:
        assert len(onnx.load(path).graph.node) == len(onnx.load(DEMO.model).graph.node)
    assert not path.exists()


@pytest.mark.parametrize("source", [None, 3, {}, b"bytes", onnx.GraphProto()])
def test_anything_else_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match="is no model; give a path"), as_file(source):
        pass


@pytest.mark.skipif(WITH_TORCH, reason="torch is installed")
def test_a_torch_file_needs_torch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"torch is not installed"), as_file(tmp_path / "m.pt2"):
        pass


@pytest.mark.skipif(not WITH_TORCH, reason="torch is not installed")
def test_a_missing_torch_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BmoptError, match="no such file"), as_file(tmp_path / "m.pt2"):
        pass


def test_a_torch_module_needs_example_inputs() -> None:
    class Module:
        def state_dict(self) -> dict[str, object]:
            return {}

    with pytest.raises(UsageError, match="needs example_inputs"), as_file(Module()):
        pass
