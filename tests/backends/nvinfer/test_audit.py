from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
import pytest

from bmopt.backends.nvinfer.audit import explain, multiplies_8_bits
from bmopt.backends.nvinfer.builder import NvinferBuilder
from bmopt.core.backend import Executed
from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.target import Target
from tests.backends.nvinfer.explicit import explicit, half_floats, plan_of
from tests.optimizer.literals import weights

_CONV = f"""
g (float[1,16,12,12] x) => (float[1,16,12,12] y)
  <{weights("w", (16, 16, 3, 3))}, {weights("b", (16,))}>
{{ c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, b)  y = Relu(c) }}
"""
_RESIDUAL = f"""
g (float[1,16,12,12] x) => (float[1,16,12,12] y)
  <{weights("w", (16, 16, 3, 3))}, {weights("v", (16, 16, 3, 3))}>
{{
  c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)
  r = Relu(c)
  d = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(r, v)
  a = Add(d, r)
  y = Relu(a)
}}
"""
_MATMUL = f"""
g (float[2,32,64] x) => (float[2,32,32] y) <{weights("w", (64, 32))}, {weights("b", (32,))}>
{{ m = MatMul(x, w)  y = Add(m, b) }}
"""
_GEMM = f"""
g (float[4,64] x) => (float[4,32] y) <{weights("w", (32, 64))}, {weights("b", (32,))}>
{{ y = Gemm<transB=1>(x, w, b) }}
"""
_DEPTHWISE = f"""
g (float[1,16,12,12] x) => (float[1,16,12,12] y) <{weights("w", (16, 1, 3, 3))}>
{{ y = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=16>(x, w) }}
"""
_GROUPED = f"""
g (float[1,32,12,12] x) => (float[1,32,12,12] y) <{weights("w", (32, 16, 3, 3))}>
{{ y = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=2>(x, w) }}
"""
_TRANSPOSED = f"""
g (float[1,16,8,8] x) => (float[1,24,16,16] y) <{weights("w", (16, 24, 2, 2))}>
{{ y = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(x, w) }}
"""
_ATTENTION = """
g (float[2,32,16] q, float[2,16,32] k) => (float[2,32,32] y) { y = MatMul(q, k) }
"""
_MOVERS = f"""
g (float[1,16,12,12] x, float[1,16,12,12] z) => (float[1,16,6,6] y)
  <{weights("w", (16, 32, 1, 1))}>
{{
  r = Relu(x)
  k = Concat<axis=1>(r, z)
  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(k)
  y = Conv<kernel_shape=[1,1]>(m, w)
}}
"""
_FLATTENED = f"""
g (float[4,16,2,2] x) => (float[4,32] y) <{weights("w", (64, 32))}>
{{ f = Flatten(x)  y = MatMul(f, w) }}
"""


def _audit(
    tmp_path: Path, model: ir.Model, names: Sequence[str], device: str = "sm86"
) -> dict[str, Executed]:
    graph = tmp_path / "model.onnx"
    ir.save(model, graph)
    precision = "fp8" if device == "sm89" else "int8"
    target = Target("rtx", precision, device)
    built = NvinferBuilder("rtx").build(graph, tmp_path / "engine", target, BuildOptions())
    return {found.node: found for found in explain(graph, plan_of(names), built.kernels)}


def _ran(found: Mapping[str, Executed]) -> dict[str, tuple[bool, str]]:
    return {name: (entry.integer, entry.dtype) for name, entry in found.items()}


@pytest.mark.parametrize(
    ("text", "reads", "kinds"),
    [
        (_CONV, {"c": (0, 1)}, {"c": "correlation"}),
        (_DEPTHWISE, {"y": (0, 1)}, {"y": "correlation"}),
        (_GROUPED, {"y": (0, 1)}, {"y": "correlation"}),
        (_GEMM, {"y": (0, 1)}, {"y": "gemm"}),
        (_MATMUL, {"m": (0, 1)}, {"m": "gemm"}),
        (_ATTENTION, {"y": (0, 1)}, {"y": "gemm"}),
        (_RESIDUAL, {"c": (0, 1), "d": (0, 1), "a": (1,)},
         {"c": "correlation", "d": "correlation", "a": "kgen"}),
        (_MOVERS, {"k": (0, 1), "m": (0,), "y": (0, 1)},
         {"k": "kgen", "m": "maxpool", "y": "correlation"}),
    ],
)  # fmt: skip
def test_sees_what_runs_in_int8(
    tmp_path: Path, text: str, reads: Mapping[str, Sequence[int]], kinds: Mapping[str, str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, plan = explicit(text, reads)
    found = _audit(tmp_path, model, plan.integer)
    assert {name: entry.kernel for name, entry in found.items()} == kinds
    assert _ran(found) == dict.fromkeys(reads, (True, "int8"))


@pytest.mark.parametrize(
    ("text", "node", "reads", "axes"),
    [
        (_CONV, "c", (), {}),
        (_CONV, "c", (0,), {}),
        (_CONV, "c", (1,), {}),
        (_CONV, "c", (0, 1), {"c": 1}),
        (_MATMUL, "m", (0, 1), {"m": 0}),
        (_TRANSPOSED, "y", (0, 1), {}),
    ],
    ids=["plain", "weight", "activation", "axis", "matmul-axis", "transposed"],
)
def test_sees_what_silently_runs_in_float(
    tmp_path: Path, text: str, node: str, reads: Sequence[int], axes: Mapping[str, int | None]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, _ = explicit(text, {node: reads}, axes=axes)
    assert _ran(_audit(tmp_path, model, [node])) == {node: (False, "float")}


def test_sees_an_add_that_reads_floats(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, _ = explicit(_RESIDUAL, {"c": (0, 1), "d": (0, 1)})
    found = _audit(tmp_path, model, ["a", "d"])
    assert _ran(found) == {"a": (False, "float"), "d": (True, "int8")}


def test_the_float_side_may_be_half(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    reads = {"c": (0, 1), "d": (0, 1), "a": (1,)}
    model, plan = explicit(_RESIDUAL, reads)
    half_floats(model)
    assert _ran(_audit(tmp_path, model, plan.integer)) == dict.fromkeys(reads, (True, "int8"))


def test_tells_which_float_it_is(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, _ = explicit(_RESIDUAL, {"c": (0, 1), "a": (1,)})
    half_floats(model)
    # Without the second convolution nothing asks for the branch in int8: the kernel that writes
    # it keeps it in float16, and the Add's own pair only rounds.
    found = _audit(tmp_path, model, ["c", "d", "a"])
    assert _ran(found) == {"c": (True, "int8"), "d": (False, "float16"), "a": (False, "float16")}


@pytest.mark.parametrize(("text", "node"), [(_CONV, "c"), (_MATMUL, "m")])
def test_sees_what_runs_in_float8(tmp_path: Path, text: str, node: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, plan = explicit(text, {node: (0, 1)}, dtype="float8e4m3fn", axes={node: None})
    found = _audit(tmp_path, model, plan.integer, "sm89")
    assert _ran(found) == {node: (True, "float8e4m3fn")}


def test_the_weakest_gpu_decides(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, plan = explicit(_CONV, {"c": (0, 1)})
    assert _ran(_audit(tmp_path, model, plan.integer, "sm86")) == {"c": (True, "int8")}
    assert _ran(_audit(tmp_path, model, plan.integer, "sm75+sm86")) == {"c": (False, "float")}


def test_a_mover_that_is_gone_moved_nothing(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    model, _ = explicit(_FLATTENED, {"f": (0,), "y": (0, 1)})
    found = _audit(tmp_path, model, ["f", "y"])
    assert found["f"] == Executed("f", "folded", integer=True)
    assert found["y"].integer


_PRODUCT = Kernel("k", "gemm", ("int8",), ("int8", "float"), ("float",), ("y",))


@pytest.mark.parametrize(
    ("changes", "integer"),
    [
        ({}, True),
        ({"inputs": ("int8", "int8"), "constants": ("float",)}, True),
        ({"inputs": ("float8e4m3fn",), "constants": ("float8e4m3fn",)}, True),
        ({"inputs": ("float16",)}, False),
        ({"constants": ("float",)}, False),
        ({"inputs": ("int8", "float"), "constants": ()}, False),
        ({"inputs": (), "constants": ("int8",)}, False),
        ({"inputs": ("",), "tactic": "sm80_xmma_fprop_i8f32_i8i32_f32"}, True),
        ({"inputs": ("",), "tactic": "sm80_xmma_fprop_f16f16_f32"}, False),
        ({"name": "__myl_CastMulCastMulCastFc_myl0_1", "kind": "runtime_fusion"}, False),
        ({"name": "__myl_FcMulAddMinMaxRounCast_myl0_1", "kind": "runtime_fusion"}, True),
        ({"name": "__myl_CorrMulAddRelu_myl0_1", "kind": "runtime_fusion"}, True),
    ],
)
def test_a_kernel_multiplies_what_it_reads(changes: Mapping[str, object], integer: bool) -> None:
    kernel = dataclasses.replace(_PRODUCT, **changes)  # type: ignore[arg-type]
    assert multiplies_8_bits(kernel) is integer


def _explained(tmp_path: Path, *kernels: Kernel) -> tuple[Executed, ...]:
    model, plan = explicit(_GEMM, {"y": (0, 1)})
    ir.save(model, tmp_path / "model.onnx")
    return explain(tmp_path / "model.onnx", plan, kernels)


def test_a_product_that_is_split_is_as_good_as_its_worst_part(tmp_path: Path) -> None:
    other = dataclasses.replace(_PRODUCT, inputs=("float",))
    assert _explained(tmp_path, _PRODUCT, other) == (Executed("y", "gemm", False, "float"),)


def test_quantising_in_front_of_a_product_is_not_its_work(tmp_path: Path) -> None:
    before = Kernel("q", "kgen", ("float",), ("int8",), ("int8",), ("y",))
    found = _explained(tmp_path, before, _PRODUCT)
    assert found == (Executed("y", "gemm", integer=True, dtype="int8"),)


def test_a_kernel_alone_that_is_pointwise_does_the_product(tmp_path: Path) -> None:
    alone = Kernel("q", "kgen", ("float",), ("float",), ("float",), ("y",))
    assert _explained(tmp_path, alone) == (Executed("y", "kgen", False, "float"),)


def test_a_product_that_is_gone_is_not_in_8_bits(tmp_path: Path) -> None:
    other = dataclasses.replace(_PRODUCT, nodes=("z",))
    assert _explained(tmp_path, other) == (Executed("y", "folded", integer=False),)


def test_an_engine_that_tells_nothing_explains_nothing(tmp_path: Path) -> None:
    assert _explained(tmp_path) == ()
