from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.backends.onnxruntime import explain_gpu
from bmopt.backends.onnxruntime.assignment import Assignment
from bmopt.backends.onnxruntime.backend import OnnxRuntimeBackend
from bmopt.core.backend import Executed
from bmopt.core.engine import Kernel
from bmopt.core.plan import QuantPlan

PLAN = QuantPlan(
    model="m",
    scheme="trt-int8",
    method="minmax",
    activations={},
    weights={},
    integer=("a", "b", "c"),
    folded=(),
    moved=(),
    float_nodes={},
    reads={},
)
BACKEND = OnnxRuntimeBackend()


def kernel(name: str, dtype: str, *nodes: str) -> Kernel:
    return Kernel(name, "gemm", (dtype,), (dtype,), ("float",), nodes)


def test_kernels_of_an_engine_tell_themselves() -> None:
    kernels = [kernel("k1", "int8", "a", "b"), kernel("k2", "float", "a", "x")]
    assert BACKEND.explain(Path("none.onnx"), PLAN, kernels) == (
        Executed("a", "k1", integer=True, dtype="int8"),
        Executed("b", "k1", integer=True, dtype="int8"),
        Executed("c", "", integer=False),
    )


def test_a_host_that_cannot_run_it_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_gpu, "lacks", lambda device: "no GPU")
    found = BACKEND.explain(Path("none.onnx"), PLAN, ())
    assert found == tuple(Executed(name, "", integer=False) for name in PLAN.integer)


def test_what_tensorrt_took_counts_as_integer(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"TensorrtExecutionProvider": ("a",), "CUDAExecutionProvider": ("b",)}
    monkeypatch.setattr(explain_gpu, "lacks", lambda device: "")
    monkeypatch.setattr(
        explain_gpu,
        "assignment",
        lambda graph, target, build: Assignment("TensorrtExecutionProvider", nodes),
    )
    assert BACKEND.explain(Path("q.onnx"), PLAN, ()) == (
        Executed("a", "TensorrtExecutionProvider", integer=True),
        Executed("b", "CUDAExecutionProvider", integer=False),
        Executed("c", "", integer=False),
    )
