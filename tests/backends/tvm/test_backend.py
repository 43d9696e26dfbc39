from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bmopt.backends.tvm import targets
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.backends.tvm.build_spec import BuildOutcome, BuildSpec
from bmopt.backends.tvm.explain import explain
from bmopt.backends.tvm.kernels import by_node, executed_dtype
from bmopt.backends.tvm.library_file import architecture_of
from bmopt.backends.tvm.runtime import open_library
from bmopt.core.engine import Kernel
from bmopt.core.host import host_facts
from bmopt.core.plan import QuantPlan
from bmopt.core.target import Target
from bmopt.errors import BuildError, HostError, IsolatedToolError
from tests.backends.tvm.installed import (
    RESIDUAL,
    compiled,
    distance,
    expected,
    model_of,
    needs_tvm,
    saved,
)

_FEW = 1e-4
"""Largest difference from ONNX Runtime that is allowed, as a part of the largest value."""

_CASES = {
    "names that no compiler takes": (
        """
        g (float[N, 4] "1st/in put", float[N, 4] "b.b") => (float[N, 4] "out:0", float[N, 8] "2")
        {
            "out:0" = Mul("1st/in put", "b.b")
            "2" = Concat<axis = 1>("b.b", "out:0")
        }
        """,
        {"1st/in put": (3, 4), "b.b": (3, 4)},
    ),
    "another axis than the batch": (
        """
        g (float[N, 4, T] x) => (float[N, 4, T] y) { s = Softmax<axis = 2>(x) y = Sqrt(s) }
        """,
        {"x": (2, 4, 7)},
    ),
    "one output twice, and an input as output": (
        """
        g (float[N, 4] x) => (float[N, 4] y, float[N, 4] z) { y = Relu(x) z = Identity(x) }
        """,
        {"x": (2, 4)},
    ),
    "a scalar": (
        "g (float x) => (float y) { y = Exp(x) }",
        {"x": ()},
    ),
    "a grouped convolution with uneven pads and a stride": (
        """
        g (float[N, 6, 9, 7] x) => (float[N, 4, 5, 4] y) <float[4, 3, 3, 3] w, float[4] b> {
            c = Conv<group = 2, strides = [2, 2], pads = [1, 0, 1, 2]>(x, w, b)
            y = LeakyRelu(c)
        }
        """,
        {"x": (2, 6, 9, 7)},
    ),
    "a depthwise convolution behind clipping": (
        """
        g (float[N, 5, 8, 8] x) => (float[N, 5, 8, 8] y)
        <float[5, 1, 3, 3] w, float low = {0.0}, float high = {0.5}> {
            k = Clip(x, low, high)
            c = Conv<group = 5, pads = [1, 1, 1, 1]>(k, w)
            y = Clip(c, low, high)
        }
        """,
        {"x": (2, 5, 8, 8)},
    ),
}


@needs_tvm
@pytest.mark.parametrize("case", list(_CASES))
def test_it_answers_as_onnx_runtime_does(case: str, tmp_path: Path) -> None:
    text, shapes = _CASES[case]
    path = saved(model_of(text), tmp_path)
    compiled(path, tmp_path / "model.so")
    random = np.random.default_rng(1)
    feeds = {
        name: np.asarray(random.standard_normal(shape), np.float32)
        for name, shape in shapes.items()
    }
    with open_library(tmp_path / "model.so", threads=1) as runner:
        answers = runner.run(feeds)
    assert distance(answers, expected(path, feeds)) <= _FEW


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a build tells of a residual block."""
    place = tmp_path_factory.mktemp("residual")
    path = saved(model_of(RESIDUAL), place)
    steps: list[tuple[int, int]] = []
    backend = TvmBackend()
    target = backend.resolve(Target.parse("tvm-fp32"))
    from bmopt.core.engine import BuildOptions

    built = backend.builder.build(
        path, place / "model.so", target, BuildOptions(), lambda *step: steps.append(step)
    )
    return built, place, steps


@needs_tvm
def test_a_build_tells_what_it_made(residual: Any) -> None:
    built, place, steps = residual
    assert (built.engine, built.devices[0]) == ("tvm", "host")
    assert built.version.startswith("0.")
    assert built.size_bytes == (place / "model.so").stat().st_size
    assert steps == [(done, 4) for done in range(5)]
    assert built.seconds > 0


@needs_tvm
def test_every_node_is_in_a_function(residual: Any) -> None:
    kernels = residual[0].kernels
    nodes = {node for kernel in kernels for node in kernel.nodes}
    expected_nodes = {node.name for node in model_of(RESIDUAL).graph.node}
    assert nodes == expected_nodes
    first = next(kernel for kernel in kernels if "first" in kernel.nodes)
    assert "second" in first.nodes  # the activation is part of the convolution
    assert "third" not in first.nodes
    assert first.outputs == ("float",)
    assert all(kernel.nodes for kernel in kernels)


@needs_tvm
def test_a_device_is_built_for_and_run_elsewhere(tmp_path: Path) -> None:
    host = host_facts(query_gpus=str)
    name, architecture = ("cortex-a53", "aarch64")
    if host.architecture == "aarch64":
        name, architecture = ("x86-avx2", "x86_64")
    if not targets.compiler_for(targets.DEVICES[name], host):
        pytest.skip(f"no compiler here links for {name}")
    path = saved(model_of(RESIDUAL), tmp_path)
    built = compiled(path, tmp_path / "model.so", f"tvm-fp32:{name}")
    assert built.devices == (name,)
    assert architecture_of(tmp_path / "model.so") == architecture
    with pytest.raises(HostError, match=f"made for {name}"):
        TvmBackend().open(tmp_path / "model.so", Target.parse(f"tvm-fp32:{name}"))
    with pytest.raises(HostError, match=f"is for {architecture}"):
        open_library(tmp_path / "model.so")


@needs_tvm
def test_without_a_linker_there_are_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bmopt.backends.tvm.builder.compiler_for", lambda device, host: "")
    path = saved(model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }"), tmp_path)
    built = compiled(path, tmp_path / "model.so", "tvm-fp32:riscv64-rvv")
    assert not (tmp_path / "model.so").exists()
    assert built.size_bytes == (tmp_path / "model.tar").stat().st_size
    assert any("no riscv64-linux-gnu-g++ here" in warning for warning in built.warnings)
    assert any("g++ -shared -fPIC -o model.so *.o" in warning for warning in built.warnings)


@needs_tvm
def test_a_missing_op_is_told_before_anything_is_compiled(tmp_path: Path) -> None:
    path = saved(
        model_of("""
        g (float[N, 4] x, int64 n, bool go) => (float[N, 4] y) {
            [turns] y = Loop(n, go, x) <body = b (int64 i, bool c, float[N, 4] v) =>
                (bool d, float[N, 4] w) { d = Identity(c) w = Relu(v) }>
        }
    """),
        tmp_path,
    )
    with pytest.raises(BuildError, match=r"TVM's importer has no Loop \(1, first 'turns'\)"):
        compiled(path, tmp_path / "model.so")
    assert not (tmp_path / "model.so").exists()


@needs_tvm
def test_a_build_that_takes_too_long_ends(tmp_path: Path) -> None:
    path = saved(model_of(RESIDUAL), tmp_path)
    with pytest.raises(IsolatedToolError, match=r"took longer than 0.2 s; allow it more with"):
        compiled(path, tmp_path / "model.so", timeout_s=0.2)
    assert not (tmp_path / "model.so").exists()


@pytest.mark.parametrize(
    ("options", "name"), [({"level": 3}, "level"), ({"workspace_bytes": 1 << 20}, "workspace")]
)
def test_options_of_other_engines_are_refused(
    options: dict[str, Any], name: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=f"TVM has no option like --{name}; leave it out"):
        compiled(tmp_path / "none.onnx", tmp_path / "model.so", **options)


@needs_tvm
def test_a_quantised_graph_answers_within_a_step(tmp_path: Path) -> None:
    model = model_of("""
        g (float[N, 4, 6, 6] x) => (float[N, 8, 6, 6] y)
        <float s = {0.02}, uint8 z = {128}, float t = {0.05}, uint8 u = {120},
         int8[8, 4, 1, 1] w, float[8] ws, int8[8] wz> {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            k = DequantizeLinear<axis = 0>(w, ws, wz)
            [product] c = Conv(d, k)
            r = QuantizeLinear(c, t, u)
            y = DequantizeLinear(r, t, u)
        }
    """)
    random = np.random.default_rng(0)
    weights = {
        "w": random.integers(-127, 128, (8, 4, 1, 1)).astype(np.int8),
        "ws": np.linspace(0.005, 0.02, 8).astype(np.float32),
        "wz": np.zeros(8, np.int8),
    }
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in weights.items()
    )
    path = saved(model, tmp_path)
    compiled(path, tmp_path / "model.so", "tvm-int8")
    feeds = {"x": random.standard_normal((2, 4, 6, 6)).astype(np.float32)}
    with open_library(tmp_path / "model.so") as runner:
        answer = runner.run(feeds)["y"]
    steps = np.abs(answer - expected(path, feeds)["y"]) / 0.05
    assert steps.max() < 1.01


def test_nodes_are_told_by_the_functions_they_are_in() -> None:
    kernels = (
        Kernel("conv", "conv", ("uint8",), ("int8", "int32"), ("uint8",), ("a", "relu")),
        Kernel("dense", "dense", ("float",), ("float",), ("float",), ("b",)),
    )
    plan = QuantPlan(
        model="",
        scheme="tvm-x86-vnni",
        method="minmax",
        activations={},
        weights={},
        integer=("a", "b", "gone"),
        folded=(),
        moved=(),
        float_nodes={},
    )
    found = {entry.node: entry for entry in explain(plan, kernels)}
    assert (found["a"].integer, found["a"].kernel, found["a"].dtype) == (True, "conv", "uint8")
    assert (found["b"].integer, found["b"].dtype) == (False, "float")
    assert (found["gone"].integer, found["gone"].kernel) == (False, "")
    assert explain(plan, ()) == ()


def test_a_node_of_several_functions_is_where_its_weights_are() -> None:
    kernels = (
        Kernel("enter", "enter", ("float",), (), ("float",), ("product",)),
        Kernel("conv", "conv", ("float",), ("float",), ("float",), ("product",)),
        Kernel("unpack", "unpack", ("uint8",), (), ("uint8",), ("moved",)),
        Kernel("dequantize", "dequantize", ("uint8",), ("float", "uint8"), ("float",), ("moved",)),
    )
    homes = by_node(kernels)
    assert (homes["product"].name, homes["moved"].name) == ("conv", "unpack")


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "outputs", "dtype"),
    [
        ("conv", ("uint8",), ("int8", "int32", "float"), ("uint8",), "uint8"),
        ("conv", ("int8",), ("int8", "float"), ("float",), "int8"),
        ("unpack", ("uint8",), (), ("float",), "uint8"),
        ("dequantize1", ("int8",), ("float", "int8"), ("float",), "float"),
        ("conv", ("float",), ("int8",), ("float",), "float"),
        ("add", ("uint8", "uint8"), ("float",), ("uint8",), "uint8"),
    ],
)
def test_what_a_function_computes_on(
    kind: str,
    inputs: tuple[str, ...],
    constants: tuple[str, ...],
    outputs: tuple[str, ...],
    dtype: str,
) -> None:
    assert executed_dtype(Kernel(kind, kind, inputs, constants, outputs, ())) == dtype


def test_a_spec_and_an_outcome_are_read_back(tmp_path: Path) -> None:
    spec = BuildSpec(
        graph=tmp_path / "m.onnx",
        out=tmp_path / "m.so",
        outcome=tmp_path / "o.json",
        precision="fp32",
        target={"kind": "llvm", "mattr": ["+neon"]},
        architecture="aarch64",
        flags=("asimddp",),
        compiler="g++",
    )
    assert BuildSpec.from_json(spec.to_json()) == spec
    kernel = Kernel("f", "f", ("float",), (), ("float",), ("a", "b"), "default")
    outcome = BuildOutcome("0.27", 1.5, kernels=(kernel,), warnings=("slow",))
    assert BuildOutcome.from_json(outcome.to_json()) == outcome
