"""Real builds of small models, and everything that can go wrong with one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.builder import NvinferBuilder
from bmopt.core import build_child
from bmopt.core.engine import BuildOptions, EngineBuild, Profile
from bmopt.core.isolate import IsolatedProcess, start_isolated
from bmopt.core.target import Target
from bmopt.errors import BuildError, HostError, IsolatedToolError, OutputError
from bmopt.graph.model_io import save_model
from tests.backends.nvinfer.explicit import explicit, half_floats
from tests.optimizer.literals import weights
from tests.quantizing import named

pytest.importorskip("tensorrt_rtx")

_GEMM = f"""
g (float[4,64] x) => (float[4,32] y) <{weights("w", (64, 32))}>
{{ m = MatMul(x, w)  y = Relu(m) }}
"""
_CONV = f"""
g (float[1,16,8,8] x) => (float[1,16,8,8] y) <{weights("w", (16, 16, 1, 1))}>
{{ y = Conv<kernel_shape=[1,1]>(x, w) }}
"""
_LATE = r"^building with TensorRT-RTX took longer than 0.05 s; allow it more with --build-timeout$"
_TARGET = "rtx-int8:sm86+sm89"
_DYNAMIC = _GEMM.replace("float[4,", "float[N,")
_ASYMMETRIC = """
g (float[1,4] x) => (float[1,4] y) <float s = {0.1}, int8 z = {3}>
{ q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }
"""
_DET = "g (float[4,4] x) => (float y) { a = Relu(x)  d = Det(a)  y = Relu(d) }"


def _build(
    tmp_path: Path,
    text: str = _GEMM,
    options: BuildOptions | None = None,
    *,
    target: str = _TARGET,
    progress: Callable[[int, int], None] | None = None,
) -> EngineBuild:
    model, _ = explicit(text, {"m": (0, 1)})
    ir.save(model, tmp_path / "model.onnx")
    parsed = Target.parse(target)
    builder = NvinferBuilder(parsed.engine)
    chosen = options or BuildOptions()
    return builder.build(
        tmp_path / "model.onnx", tmp_path / "engine", parsed, chosen, progress=progress
    )


def _require_refused(tmp_path: Path, message: str, **changes: Any) -> None:
    with pytest.raises(BuildError, match=message) as caught:
        _build(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_builds_for_several_gpus(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    built = _build(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert (built.engine, built.version) == ("tensorrt_rtx", sdk.version("rtx"))
    assert built.devices == ("sm86", "sm89")
    assert built.size_bytes == (tmp_path / "engine").stat().st_size > 1000
    assert 0 < built.seconds < 60
    assert [kernel.kind for kernel in built.kernels] == ["kgen", "gemm", "kgen"]
    assert built.kernels[1].nodes == ("m", "x_DequantizeLinear", "w_DequantizeLinear")
    assert steps == sorted(set(steps))
    assert steps[0][0] < 500
    assert steps[-1] == (1000, 1000)


def test_the_sdk_prints_nothing_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _build(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_says_what_the_sdk_warned_of(tmp_path: Path) -> None:
    model, _ = explicit(_CONV, {"y": (0, 1)})
    half_floats(model)
    ir.save(model, tmp_path / "model.onnx")
    built = NvinferBuilder("rtx").build(
        tmp_path / "model.onnx", tmp_path / "engine", Target.parse(_TARGET), BuildOptions()
    )
    assert built.warnings == (
        "Converting conv activation scales to fp32.",
        "Converting conv weight scales to fp32.",
    )


def test_weights_may_lie_beside_the_graph(tmp_path: Path) -> None:
    model = named(_GEMM)
    save_model(model, tmp_path / "model.onnx")
    ir.save(model, tmp_path / "apart.onnx", external_data="apart.data", size_threshold_bytes=0)
    assert (tmp_path / "apart.data").stat().st_size >= 64 * 32 * 4
    built = NvinferBuilder("rtx").build(
        tmp_path / "apart.onnx",
        tmp_path / "engine",
        Target.parse("rtx-fp32:sm86"),
        BuildOptions(),
    )
    assert any("m" in kernel.nodes for kernel in built.kernels)


def test_an_engine_is_replaced_and_its_folder_made(tmp_path: Path) -> None:
    first = _build(tmp_path)
    assert _build(tmp_path).devices == first.devices
    model = tmp_path / "model.onnx"
    target = Target.parse("rtx-int8:sm86")
    out = tmp_path / "a" / "b" / "engine"
    NvinferBuilder("rtx").build(model, out, target, BuildOptions())
    assert out.stat().st_size > 1000
    with pytest.raises(OutputError, match="no regular file"):
        NvinferBuilder("rtx").build(model, out.parent, target, BuildOptions())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            _DET,
            (
                r"^TensorRT-RTX refuses node 'd' \(Det\): this op is not supported; "
                r"it takes 2 of the graph's 3 nodes, in 2 parts$"
            ),
        ),
        (
            _ASYMMETRIC,
            r"refuses node 'q' \(QuantizeLinear\): Non-zero zero point is not supported; ",
        ),
        (
            "g (string[1] x) => (string[1] y) { y = Identity(x) }",
            r"^TensorRT-RTX refuses the model: ",
        ),
    ],
    ids=["op", "zero-point", "type"],
)
def test_a_refused_model_names_node_and_reason(tmp_path: Path, text: str, message: str) -> None:
    _require_refused(tmp_path, message, text=text)


def test_a_failed_build_tells_the_cause(tmp_path: Path) -> None:
    message = r"^TensorRT-RTX cannot build the engine: Cannot compile operation 'm\S*' for Turing"
    _require_refused(tmp_path, message, target="rtx-int8:sm75+sm86")


def test_dynamic_axes_take_their_shapes_from_the_profile(tmp_path: Path) -> None:
    profile = Profile((1, 64), (8, 64), (32, 64))
    built = _build(tmp_path, _DYNAMIC, BuildOptions(profiles={"x": profile}))
    (gemm,) = (kernel for kernel in built.kernels if kernel.kind == "gemm")
    assert (gemm.inputs, gemm.nodes[0]) == (("int8",), "m")


@pytest.mark.parametrize(
    ("text", "profiles", "message"),
    [
        (
            _DYNAMIC,
            {},
            r"^input 'x' has dynamic axes \(\?x64\); .* --shapes x:MIN:OPT:MAX$",
        ),
        (
            _DYNAMIC,
            {"z": Profile((1, 64), (1, 64), (1, 64))},
            r"^--shapes z: the model has no such input, but 'x'$",
        ),
        (
            _DYNAMIC,
            {"x": Profile((1,), (1,), (1,))},
            r"^--shapes x:1:1:1: the input has the shape \?x64$",
        ),
        (
            _DYNAMIC,
            {"x": Profile((4, 64), (2, 64), (8, 64))},
            r"^--shapes x:4x64:2x64:8x64: axis 0 is not MIN <= OPT <= MAX$",
        ),
        (
            _DYNAMIC,
            {"x": Profile((1, 64), (2, 65), (3, 66))},
            r"axis 1 of the input is always 64 \(\?x64\)$",
        ),
        (
            _GEMM,
            {"x": Profile((1, 64), (2, 64), (3, 64))},
            r"axis 0 of the input is always 4 \(4x64\)$",
        ),
    ],
    ids=["missing", "unknown", "rank", "order", "fixed", "static"],
)
def test_a_profile_has_to_fit(
    tmp_path: Path, text: str, profiles: dict[str, Profile], message: str
) -> None:
    _require_refused(tmp_path, message, text=text, options=BuildOptions(profiles=profiles))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BuildOptions(timing_cache="t"), "no timing cache"),
        (BuildOptions(compat="version"), "instead of --compat version"),
        (BuildOptions(compat="hardware"), r"use --target rtx-int8:sm80\+sm86\+sm89 instead"),
        (BuildOptions(strip=True), "engine without weights"),
        (BuildOptions(refit=True), "engine that can be refitted"),
        (BuildOptions(dla=0), "leave the DLA out"),
        (BuildOptions(level=6), "levels go from 0 to 5"),
        (BuildOptions(workspace_bytes=-1), "give a positive size"),
        (BuildOptions(dla=-1), "numbered from 0"),
    ],
    ids=["cache", "version", "hardware", "strip", "refit", "dla", "level", "memory", "core"],
)
def test_what_rtx_cannot_do_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: BuildOptions, message: str
) -> None:
    def started(*_: Any, **__: Any) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(build_child, "start_isolated", started)
    _require_refused(tmp_path, message, options=options)


def test_what_rtx_can_do_is_done(tmp_path: Path) -> None:
    options = BuildOptions(
        level=1, workspace_bytes=1 << 28, weight_streaming=True, sparse=True, timeout_s=60
    )
    assert _build(tmp_path, options=options).kernels


def test_an_sdk_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "find", lambda engine: False)
    with pytest.raises(HostError, match=r"TensorRT is not installed \(pip install 'bmopt\[trt\]'"):
        _build(tmp_path, target="trt-int8")


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(IsolatedToolError, match=_LATE):
        _build(tmp_path, options=BuildOptions(timeout_s=0.05))
    assert not (tmp_path / "engine").exists()


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[IsolatedProcess]:
    started: list[IsolatedProcess] = []

    def start(*arguments: Any, **options: Any) -> IsolatedProcess:
        started.append(start_isolated(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(build_child, "start_isolated", start)
    return started


def test_a_build_that_dies_is_told(tmp_path: Path, children: list[IsolatedProcess]) -> None:
    with pytest.raises(IsolatedToolError, match=r"^building with TensorRT-RTX was killed by SIGK"):
        _build(tmp_path, progress=lambda *_: os.kill(children[0]._child.pid, signal.SIGKILL))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_an_interrupt_ends_the_build(tmp_path: Path, children: list[IsolatedProcess]) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path, progress=interrupt)
    assert children[0]._child.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
