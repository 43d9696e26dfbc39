"""The native runner's plugins of TensorRT and TensorRT-RTX on the SDKs themselves.

They are compiled where TENSORRT_ROOT or TENSORRT_RTX_ROOT names the SDK's headers, and engines run
where there is a GPU (``-m gpu``).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bmopt.backends.nvinfer import sdk
from bmopt.backends.nvinfer.device import device_count, sm_of, why_no_gpu
from bmopt.backends.nvinfer.runtime import open_engine
from bmopt.core.engine import BuildOptions, Profile
from bmopt.core.target import DEVICES, Target
from tests.runner.tensorrt_plugins import (
    BAD_INPUT,
    HOST,
    IO,
    RUNNER,
    SM86_ENGINE,
    compile_with,
    feed,
    run_hosted,
    values,
)

_SDKS = {
    "trt": ("tensorrt", "TENSORRT_ROOT", "tensorrt_libs", "libnvinfer.so.*"),
    "rtx": ("tensorrt_rtx", "TENSORRT_RTX_ROOT", "tensorrt_rtx_libs", "libtensorrt_rtx.so.*"),
}
"""Engine -> its plugin, what names its headers, the package that has its library."""


def _library(kind: str) -> str:
    """The SDK's library in its wheel; empty for the system's."""
    _, _, package, pattern = _SDKS[kind]
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob(pattern))
    return str(found[0]) if found else ""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Builds the plugin on an SDK's own headers."""

    def build(kind: str) -> str:
        name, variable, _, _ = _SDKS[kind]
        if not os.environ.get(variable):
            pytest.skip(f"{variable} does not name the SDK's headers")
        if shutil.which("cmake") is None:
            pytest.skip("needs cmake")
        folder = tmp_path_factory.mktemp(name)
        compile_with(["cmake", "-S", str(RUNNER), "-B", ".", "-DBMOPT_WERROR=ON"], folder)
        compile_with(["cmake", "--build", ".", "--target", f"bm_engine_{name}"], folder)
        return str(folder / f"libbm_engine_{name}.so")

    return build


@pytest.mark.timeout(280)
def test_the_real_library_is_loaded(real: Callable[[str], str], tmp_path: Path) -> None:
    library = _library("rtx")
    if not library:
        pytest.skip(sdk.missing("rtx"))
    if device_count():
        pytest.skip("what a host without a GPU says is tested here")
    plugin, path = real("rtx"), tmp_path / "engine"
    path.write_bytes(SM86_ENGINE)
    order = {"plugin": plugin, "model": str(path), "library": library, **IO}
    result = run_hosted(order, {})
    assert (result["name"], result["status"]) == ("tensorrt_rtx", HOST)
    # Headers of another release are told from the library's, whose functions are elsewhere.
    refusals = ("no NVIDIA driver is loaded", f"{library}: is TensorRT-RTX {sdk.version('rtx')}")
    assert result["error"].startswith(refusals)
    assert run_hosted({**order, "library": "libm.so.6"}, {})["error"].startswith(
        "libm.so.6: is no lib"
    )


_LAYER = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3] x) => (float[N,3] y) { a = MatMul(x, w) y = Relu(a) }"""


def _build(kind: Any, folder: Path) -> Path:
    from bmopt.backends.nvinfer.backend import NvinferBackend

    model = onnx.parser.parse_model(_LAYER)
    weights = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    graph, path = folder / "graph.onnx", folder / "engine.plan"
    onnx.save(model, graph)
    builder = NvinferBackend(kind).builder
    assert builder is not None
    profiles = {"x": Profile((1, 3), (4, 3), (8, 3))}
    target = Target(kind, "fp32", sm_of() if kind == "rtx" else "")
    builder.build(graph, path, target, BuildOptions(profiles=profiles))
    return path


@pytest.mark.gpu
@pytest.mark.timeout(580)
@pytest.mark.parametrize("kind", ["trt", "rtx"])
def test_a_real_engine_gives_what_python_gets(
    kind: Any, real: Callable[[str], str], tmp_path: Path
) -> None:
    if reason := why_no_gpu():
        pytest.skip(reason)
    if not sdk.find(kind):
        pytest.skip(sdk.missing(kind))
    if kind == "rtx" and sm_of() not in DEVICES["rtx-fp32"]:
        pytest.skip(f"TensorRT-RTX does not support this GPU ({sm_of()})")
    plugin, engine = real(kind), _build(kind, tmp_path)
    runs = [feed(batch, seed) for seed, batch in enumerate((4, 1, 8, 8, 3, 9))]
    order = {"plugin": plugin, "model": str(engine), "library": _library(kind), "runs": runs}
    result = run_hosted({**order, **IO}, {})
    assert result["status"] == 0, result["error"]
    assert sdk.version(kind).startswith(result["version"].rsplit(".", 1)[0])
    *fitting, outside = result["runs"]
    with open_engine(engine, kind) as runner:
        for asked, got in zip(runs, fitting, strict=False):
            expected = runner.run({"x": values(asked)})["y"]
            assert got["status"] == 0, got["error"]
            np.testing.assert_array_equal(np.reshape(got["data"], got["shape"]), expected)
    assert (outside["status"], "1x3 to 8x3" in outside["error"]) == (BAD_INPUT, True)
