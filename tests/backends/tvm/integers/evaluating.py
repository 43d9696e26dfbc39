"""Q/DQ graphs for tests, evaluated node by node by ONNX Runtime and in integers by TVM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from bmopt.backends.tvm import probe

needs_tvm = pytest.mark.skipif(bool(probe.why_not()), reason=probe.why_not() or "TVM is there")

BASELINE = {"kind": "llvm"}
"""A processor of this architecture without any dot product."""

Arrays = dict[str, np.ndarray]


def encoded(name: str, scale: float, zero: int, dtype: str = "uint8") -> Arrays:
    """Return the constants ``NAME_s`` and ``NAME_z`` of an encoding."""
    return {f"{name}_s": np.float32(scale).reshape(()), f"{name}_z": np.array(zero, dtype)}


def weights(name: str, shape: tuple[int, ...], axis: int = 0, seed: int = 0) -> Arrays:
    """Return int8 weights over the whole range with a scale per output channel."""
    random = np.random.default_rng(seed)
    values = random.integers(-127, 128, shape).astype(np.int8)
    scales = random.uniform(0.002, 0.02, shape[axis]).astype(np.float32)
    return {name: values, f"{name}_s": scales, f"{name}_z": np.zeros(shape[axis], np.int8)}


def bias(name: str, sums: np.ndarray, seed: int = 1) -> Arrays:
    """Return an int32 bias whose scales are those of the products' sums."""
    values = np.random.default_rng(seed).integers(-3000, 3000, sums.shape).astype(np.int32)
    return {name: values, f"{name}_s": sums.astype(np.float32)}


def qdq_model(text: str, constants: Mapping[str, np.ndarray], opset: int = 17) -> ir.Model:
    """Return the model of a graph's text, which reads the constants by name."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{text}')
    arrays = [onnx.numpy_helper.from_array(a, name) for name, a in constants.items()]
    proto.graph.initializer.extend(arrays)
    for index, node in enumerate(proto.graph.node):
        node.name = f"node_{index}"
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def reference(model: ir.Model, feeds: Arrays) -> list[np.ndarray]:
    """Return what ONNX Runtime says, nothing in the graph rewritten."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    return [np.asarray(array) for array in session.run(None, feeds)]


def host() -> dict[str, str]:
    """Return the target of this host with all that its processor has."""
    import tvm

    return {"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()}


def imported(model: ir.Model, target: Mapping[str, Any] | None = None) -> Any:
    """Return the relax module."""
    import tvm

    from bmopt.backends.tvm.integers import import_integers

    return import_integers(model, tvm.target.Target(dict(target or host())))


def runner(
    model: ir.Model, target: Mapping[str, Any] | None = None
) -> Callable[[Arrays], list[np.ndarray]]:
    """Return what runs the integer kernels, compiled for ``target``, by default this host."""
    import tvm

    module = imported(model, target)
    built = tvm.compile(module, tvm.target.Target(dict(target or host())))
    machine = tvm.relax.VirtualMachine(built, tvm.cpu())
    names = [value.name for value in model.graph.inputs]

    def run(feeds: Arrays) -> list[np.ndarray]:
        answer = machine["main"](*[tvm.runtime.tensor(feeds[name]) for name in names])
        return [answer.numpy()] if hasattr(answer, "numpy") else [one.numpy() for one in answer]

    return run


def in_integers(
    model: ir.Model, feeds: Arrays, target: Mapping[str, Any] | None = None
) -> list[np.ndarray]:
    """Return what the integer kernels say, compiled for ``target``, by default this host."""
    return runner(model, target)(feeds)


def kinds(module: Any) -> list[str]:
    """Return what the functions that ``main`` calls do, in order, without a number behind."""
    found = []
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            arguments = getattr(binding.value, "args", None)
            if arguments and hasattr(arguments[0], "name_hint"):
                name = str(arguments[0].name_hint)
                found.append(name.removeprefix("integer_").rstrip("0123456789"))
            elif hasattr(binding.value, "op") and hasattr(binding.value.op, "name"):
                found.append(str(binding.value.op.name))
    return found


def assert_one_step(
    model: ir.Model, feeds: Arrays, target: Mapping[str, Any] | None = None, few: float = 0.002
) -> None:
    """Check that 8-bit outputs are at most one step off, and at most ``few`` of them are."""
    wanted, found = reference(model, feeds), in_integers(model, feeds, target)
    assert len(wanted) == len(found)
    for want, have in zip(wanted, found, strict=True):
        assert (have.dtype, have.shape) == (want.dtype, want.shape)
        steps = np.abs(have.astype(np.int32) - want.astype(np.int32))
        assert len(np.unique(want)) > 1, "the test shows nothing"
        assert steps.max() <= 1, f"{int(steps.max())} steps off"
        assert (steps > 0).mean() <= few, f"{100 * (steps > 0).mean():.3g} % differ"


def images(shape: tuple[int, ...], low: float = -2.0, high: float = 3.0, seed: int = 7) -> Any:
    """Return random float32 samples."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
