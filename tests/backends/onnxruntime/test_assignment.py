from __future__ import annotations

import types
from pathlib import Path
from typing import Any, cast

import onnxruntime as ort
import pytest

from bmopt.backends.onnxruntime.assignment import Assignment, assignment, read_assignment
from bmopt.backends.onnxruntime.libraries import lacks
from bmopt.core.target import Target
from bmopt.errors import ModelError
from tests.backends.onnxruntime.pretend_gpu import pretend
from tests.quantizing import CONV_NET, as_bytes, named

NODES = ("c1", "r1", "m1", "c2", "c3", "a", "r2", "p", "f", "y")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(as_bytes(named(CONV_NET)))
    return path


def group(provider: str, *names: str) -> Any:
    nodes = [types.SimpleNamespace(name=name) for name in names]
    return types.SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)


def session_of(*groups: Any) -> ort.InferenceSession:
    return cast(
        "ort.InferenceSession",
        types.SimpleNamespace(get_provider_graph_assignment_info=lambda: list(groups)),
    )


def test_the_cpu_runs_every_node_that_it_is_asked_to(model: Path) -> None:
    found = assignment(model, Target.parse("ort-fp32"))
    assert found.wanted == "CPUExecutionProvider"
    assert set(found.nodes) == {"CPUExecutionProvider"}
    assert sorted(found.nodes["CPUExecutionProvider"]) == sorted(NODES)
    assert found.fallbacks == {}
    assert found.provider_of("c2") == "CPUExecutionProvider"
    assert found.provider_of("no such node") == ""


@pytest.mark.parametrize("target", ["ort-fp32:cuda", "ort-fp32:tensorrt"])
def test_nodes_that_are_left_to_the_cpu_are_fallbacks(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    pretend(monkeypatch, tmp_path / "cache")
    found = assignment(model, Target.parse(target))
    assert found.fallbacks == dict.fromkeys(NODES, "CPUExecutionProvider")


def test_groups_of_one_provider_are_joined() -> None:
    session = session_of(
        group("TensorrtExecutionProvider", "a", "b"),
        group("CUDAExecutionProvider", "c"),
        group("TensorrtExecutionProvider", "d"),
        group("CPUExecutionProvider", "e"),
    )
    found = read_assignment(session, "TensorrtExecutionProvider")
    assert found.nodes["TensorrtExecutionProvider"] == ("a", "b", "d")
    assert found.fallbacks == {"c": "CUDAExecutionProvider", "e": "CPUExecutionProvider"}


def test_a_version_that_does_not_tell_is_no_error() -> None:
    session = cast("ort.InferenceSession", types.SimpleNamespace())
    assert read_assignment(session, "CUDAExecutionProvider") == Assignment(
        "CUDAExecutionProvider", {}
    )


def test_a_model_that_is_refused_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        assignment(tmp_path / "none.onnx", Target.parse("ort-fp32"))


@pytest.mark.gpu
@pytest.mark.skipif(bool(lacks("cuda")), reason=lacks("cuda"))
def test_a_gpu_takes_every_node_of_a_network(model: Path) -> None:
    assert assignment(model, Target.parse("ort-fp32:cuda")).fallbacks == {}
