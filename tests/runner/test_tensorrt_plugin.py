"""The native runner's plugins of TensorRT and TensorRT-RTX, around the SDK.

The adapter to the SDK and the CUDA driver are stand-ins here (``fake_tensorrt.cpp``,
``fake_cuda.cpp``): it runs everywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.backends.nvinfer.device import device_count
from tests.runner.tensorrt_plugins import (
    BAD_INPUT,
    HERE,
    HOST,
    IO,
    RUNNER,
    SM86_ENGINE,
    compile_with,
    feed,
    header,
    run_hosted,
    values,
)

_FLAGS = ["-std=c++17", "-O0", "-fPIC", "-Wall", "-Wextra", "-Werror"]

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

Host = Callable[..., dict[str, Any]]


def _objects(folder: Path, sources: list[Path], *defines: str) -> list[str]:
    folder.mkdir()
    include = [f"-I{RUNNER / name}" for name in ("include", "src", "engines")]
    compile_with(["g++", *_FLAGS, *defines, *include, "-c", *map(str, sources)], folder)
    return [str(folder / f"{source.stem}.o") for source in sources]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins on a stand-in SDK, and in lib/ a driver and the SDK's library."""
    folder = tmp_path_factory.mktemp("plugin")
    engines = RUNNER / "engines"
    parts = ("bind", "file", "log", "port", "session", "shape")
    common = [engines / f"tensorrt_{part}.cpp" for part in parts]
    common += [engines / "cuda.cpp", RUNNER / "src/dtype.cpp", HERE / "fake_tensorrt.cpp"]
    own = [engines / f"tensorrt_{part}.cpp" for part in ("library", "open", "plugin")]
    objects = _objects(folder / "common", common)
    for name, defines in {"trt": (), "rtx": ("-DBM_TENSORRT_RTX",)}.items():
        more = _objects(folder / name, own, "-DBM_SDKS=SDK(fake_10)", *defines)
        compile_with(
            ["g++", *_FLAGS, "-shared", *objects, *more, "-o", f"{name}.so", "-ldl"], folder
        )
    (folder / "lib").mkdir()
    driver = str(HERE / "fake_cuda.cpp")
    compile_with(["g++", *_FLAGS, "-shared", driver, "-o", "lib/libcuda.so.1"], folder)
    for version, soname in ((101601, "libnvinfer.so.10"), (90300, "nine.so")):
        source = str(HERE / "fake_nvinfer.c")
        flags = ["-fPIC", "-shared", f"-DVERSION={version}"]
        compile_with(["gcc", *flags, source, "-o", f"lib/{soname}"], folder)
    return folder


@pytest.fixture
def host(built: Path, tmp_path: Path) -> Host:
    def run(what: str | bytes, *, plugin: str = "trt", env: Any = None, **order: Any) -> Any:
        path = tmp_path / "engine"
        path.write_bytes(header() + what.encode() if isinstance(what, str) else what)
        environment = {"LD_LIBRARY_PATH": str(built / "lib"), **(env or {})}
        order = {"plugin": str(built / f"{plugin}.so"), "model": str(path), **IO, **order}
        return run_hosted(order, environment)

    return run


def test_runs_follow_shapes_and_profiles(host: Host) -> None:
    runs = [feed(batch, seed) for seed, batch in enumerate((2, 2, 4, 1, 6, 6, 3))]
    result = host("double", runs=runs)
    assert (result["name"], result["abi"], result["status"]) == ("tensorrt", 1, 0)
    assert result["version"] == "10.16.1"
    for asked, got in zip(runs, result["runs"], strict=True):
        given = values(asked)
        assert got["status"] == 0, got["error"]
        assert (got["dtype"], got["shape"]) == ("float32", list(given.shape))
        second_profile = 100 if len(given) > 4 else 0
        np.testing.assert_array_equal(
            np.reshape(got["data"], given.shape), 2 * given + second_profile
        )
    # Nothing is told again while the shape stays.
    assert result["tellings"] == 5


def test_an_output_whose_shape_depends_on_the_data(host: Host) -> None:
    runs = [feed(batch, seed) for seed, batch in enumerate((2, 5, 1, 1))]
    runs.append({"feeds": [{"shape": [1, 3], "dtype": "float32", "data": [[-1, -2, -3]]}]})
    result = host("positive", runs=runs)
    for asked, got in zip(runs, result["runs"], strict=True):
        given = values(asked)
        assert got["status"] == 0, got["error"]
        assert got["data"] == given[given > 0].tolist()
        assert got["shape"] == [int((given > 0).sum())]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (feed(2, dtype="int32"), "input 'x' is int32, and the engine takes float32; cast it"),
        (feed(9), "shape 9x3, and the engine was built for 1x3 to 4x3 or 5x3 to 8x3"),
        ({"feeds": [{"shape": [3], "dtype": "float32", "data": [1, 2, 3]}]}, "takes ?x3"),
        (feed(0), "shape 0x3"),
        ({**feed(4), "room": 47}, "output 'y' has shape 4x3 and takes 48 bytes, not 47"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_next_runs(host: Host, run: Any, said: str) -> None:
    got, after = host("double", runs=[run, feed(2)])["runs"]
    assert (got["status"], after["status"]) == (BAD_INPUT, 0)
    assert said in got["error"]


def test_an_output_that_does_not_fit_tells_its_shape(host: Host) -> None:
    for what in ("double", "positive"):
        (got,) = host(what, runs=[{**feed(4), "room": 1}])["runs"]
        assert got["status"] == BAD_INPUT
        assert int(np.prod(got["shape"])) > 1


def test_a_failed_run_tells_the_sdk_s_reason_in_one_line(host: Host) -> None:
    (got,) = host("stuck", runs=[feed(2)])["runs"]
    assert got["status"] == HOST
    assert "(Error Code 1: the kernel failed)" in got["error"]


def test_a_gpu_without_memory(host: Host) -> None:
    result = host("double", env={"FAKE_CUDA_BYTES": "700"}, runs=[feed(2)])
    (got,) = result["runs"]
    assert got["status"] == HOST
    assert "CUDA_ERROR_OUT_OF_MEMORY (out of memory); run smaller batches" in got["error"]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", BAD_INPUT, "is empty"),
        (b"no engine at all, but some bytes", BAD_INPUT, "is no TensorRT engine"),
        (header()[:20], BAD_INPUT, "is truncated: 20 bytes"),
        (header(size=99), BAD_INPUT, "is truncated: 36 of 99 bytes"),
        (SM86_ENGINE, BAD_INPUT, "is an engine of TensorRT-RTX, not of TensorRT"),
        (
            header(version="10.3.0.26"),
            HOST,
            "was built by TensorRT 10.3.0.26, and this is 10.16.1",
        ),
        (header() + b"foreign", HOST, "expecting compute 8.6 got compute 8.9"),
        (header() + b"fat", HOST, "the GPU has not enough memory for it"),
        (header() + b"brief", BAD_INPUT, "'x' has elements of type BF16, which cannot be fed"),
    ],
)
def test_an_engine_that_does_not_run_here(
    host: Host, content: bytes, status: int, said: str
) -> None:
    result = host(content)
    assert (result["status"], said in result["error"]) == (status, True), result["error"]


@pytest.mark.parametrize(
    ("order", "status", "said"),
    [
        ({"library": "/nowhere/libnvinfer.so.10"}, HOST, "TensorRT cannot be loaded (/nowhere"),
        ({"library": "libm.so.6"}, HOST, "libm.so.6: is no library of TensorRT"),
        ({"library": "nine.so"}, HOST, "is TensorRT 9.3.0, and this runner was compiled for 10"),
        ({"env": {"LD_LIBRARY_PATH": ""}}, HOST, "TensorRT 10.16.1.0 built"),
        ({"env": {"FAKE_CUDA_DEVICES": "0"}}, HOST, "CUDA_ERROR_NO_DEVICE; check CUDA_VISIBLE"),
        ({"settings": {"depth": "1"}}, BAD_INPUT, "setting 'depth' is unknown to TensorRT"),
        ({"settings": {"DLA_core": "x"}}, BAD_INPUT, "it takes the number of a core"),
        ({"inputs": {"z": "float32"}}, BAD_INPUT, "the engine has no input 'z' but x"),
        ({"inputs": {}}, BAD_INPUT, "the manifest does not have 'x' of the engine"),
        ({"outputs": {"y": "int8"}}, BAD_INPUT, "is float32 in the engine and int8 in the manif"),
    ],
)
def test_a_host_or_bundle_that_does_not_fit(
    host: Host, order: dict[str, Any], status: int, said: str
) -> None:
    result = host("double", **order)
    assert (result["status"], said in result["error"]) == (status, True), result["error"]


def test_known_settings_are_taken(host: Host) -> None:
    settings = {"engine_host_code_allowed": "1", "DLA_core": "0"}
    assert host("double", settings=settings)["status"] == 0


def test_a_host_without_a_driver(host: Host, built: Path) -> None:
    if device_count():
        pytest.skip("this host has a driver")
    library = str(built / "lib" / "libnvinfer.so.10")
    result = host("double", library=library, env={"LD_LIBRARY_PATH": ""})
    assert result["status"] == HOST
    assert result["error"].startswith("no NVIDIA driver is loaded (libcuda.so.1")


def test_the_other_sdk_s_plugin_knows_its_own_files(host: Host) -> None:
    result = host("double", plugin="rtx")
    assert (result["name"], result["status"]) == ("tensorrt_rtx", BAD_INPUT)
    assert "is an engine of TensorRT, not of TensorRT-RTX" in result["error"]
    # The stand-in is of 10.0 and the library of 10.16: with TensorRT-RTX a minor release counts.
    result = host(SM86_ENGINE, plugin="rtx", library="libnvinfer.so.10")
    assert "compiled for 10.0; install that" in result["error"]
