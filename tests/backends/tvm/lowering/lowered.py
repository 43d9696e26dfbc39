"""Runs models through the kernels, and says which kernels ran them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

HOST = {"kind": "llvm", "num-cores": 2}


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A model in TVM.

    Attributes:
        kernels: How often ``main`` calls each kind of kernel; what TVM lowered counts as "other".
        outputs: What it computes.
    """

    kernels: dict[str, int]
    outputs: list[np.ndarray]


def lowered(
    model: onnx.ModelProto,
    feeds: dict[str, np.ndarray],
    *,
    threads: int = 1,
    mcpu: str = "",
) -> Lowered:
    """Lower, compile and run a model on this machine."""
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    from bmopt.backends.tvm.lowering import lower

    target = tvm.target.Target(HOST | {"mcpu": mcpu or _this_cpu()})
    module = lower(from_onnx(model), target, threads=threads)
    machine = relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(one) for one in feeds.values()))
    results = [result] if hasattr(result, "numpy") else list(result)
    return Lowered(_kernels(module), [one.numpy() for one in results])


def expected(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return what ONNX Runtime computes, without optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, feeds))


def agrees(
    model: onnx.ModelProto, *, batch: int = 1, threads: int = 1, mcpu: str = ""
) -> dict[str, int]:
    """Check a model's outputs on random inputs, and return its kernels."""
    feeds = random_feeds(model, batch)
    got = lowered(model, feeds, threads=threads, mcpu=mcpu)
    for value, wanted in zip(got.outputs, expected(model, feeds), strict=True):
        assert value.shape == wanted.shape
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(value, wanted, rtol=0, atol=3e-5 * scale)
    return got.kernels


def random_feeds(model: onnx.ModelProto, batch: int) -> dict[str, np.ndarray]:
    """Return seeded inputs; symbols are the batch."""
    random = np.random.default_rng(0)
    weights = {one.name for one in model.graph.initializer}
    return {
        one.name: random.standard_normal(
            [d.dim_value or batch for d in one.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for one in model.graph.input
        if one.name not in weights
    }


def _this_cpu() -> str:
    import tvm

    return str(tvm.target.codegen.llvm_get_system_cpu())


def _kernels(module: Any) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            called = getattr(binding.value, "args", [None])[0]
            if type(called).__name__ == "GlobalVar":
                attributes = module[called].attrs
                counted[str(attributes.get("bmopt.kernel", "other"))] += 1
    return dict(counted)
