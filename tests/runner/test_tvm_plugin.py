"""The native runner's plugin of TVM, on the real runtime and on models that TVM compiles here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle.tvm_runtime import EXTRA_CALLS, EXTRA_LIBRARY
from tests.runner.tensorrt_plugins import BAD_INPUT, HOST, RUNNER, run_hosted
from tests.runner.tvm_models import HAS_TVM, TEXT, TOP_TWO, WHY_NOT, compile_text
from tests.runner.tvm_models import HOST as TARGET

pytestmark = [
    pytest.mark.skipif(not HAS_TVM, reason=WHY_NOT),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="compiles models for x86-64"),
]

WEIGHT = np.array(
    [[0.5, -1.0, 0.25], [2.0, 0.125, -0.5], [1.5, 0.75, -0.25], [1.0, -2.0, 0.5]], np.float32
)
INTERNAL = 70

Hosted = Callable[..., dict[str, Any]]


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plugin") / "tvm.so"
    sources = [*sorted((RUNNER / "engines").glob("tvm*.cpp")), RUNNER / "src/dtype.cpp"]
    include = [f"-I{RUNNER / name}" for name in ("include", "src")]
    flags = ["-std=c++17", "-O0", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
    command = ["g++", *flags, *include, "-isystem", package("tvm_ffi") / "include", *sources]
    done = subprocess.run(
        [*map(str, command), "-o", str(out), "-ldl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's lib: the runtime with its other half beside it."""
    folder = tmp_path_factory.mktemp("lib")
    shutil.copy(package("tvm") / "lib/libtvm_runtime.so", folder)
    shutil.copy(package("tvm_ffi") / "lib/libtvm_ffi.so", folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_text(TEXT, tmp_path_factory.mktemp("model") / "model.so", TARGET)


@pytest.fixture
def hosted(plugin: Path, lib: Path, model: Path) -> Hosted:
    def run(**order: Any) -> dict[str, Any]:
        standard = {
            "plugin": str(plugin),
            "model": str(model),
            "library": str(lib / "libtvm_runtime.so"),
            "inputs": {"input": "float32"},
            "outputs": {"logits": "float32", "whole": "int32"},
            "settings": {"tvm_ffi": ffi_release()},
        }
        return run_hosted({**standard, **order}, {"OPENBLAS_NUM_THREADS": "1"})

    return run


def ffi_release() -> str:
    version = importlib.metadata.version("apache-tvm-ffi")
    return ".".join(version.split(".")[:3])


def feed(batch: int, *, shift: int = 0, width: int = 4, dtype: str = "float32") -> dict[str, Any]:
    data = np.random.default_rng(batch).integers(-8, 8, (batch, width))
    return {"shape": [batch, width], "dtype": dtype, "data": data.tolist(), "shift": shift}


def test_batches_of_any_size_from_memory_of_any_alignment(hosted: Hosted) -> None:
    runs = [{"feeds": [feed(n, shift=s)]} for n, s in ((1, 0), (3, 0), (3, 4), (2, 60), (0, 0))]
    result = hosted(runs=runs)
    assert (result["name"], result["abi"], result["status"]) == ("tvm", 1, 0), result
    assert result["version"] == f"tvm_ffi {ffi_release()}"
    for asked, got in zip(runs, result["runs"], strict=True):
        assert got["status"] == 0, got["error"]
        given = np.reshape(asked["feeds"][0]["data"], asked["feeds"][0]["shape"])
        (whole,) = got["others"]
        assert (got["dtype"], got["shape"]) == ("float32", [len(given), 3])
        assert (whole["dtype"], whole["shape"]) == ("int32", [len(given), 4])
        wanted = np.maximum(given.astype(np.float32) @ WEIGHT, 0)
        np.testing.assert_allclose(np.reshape(got["data"], wanted.shape), wanted, atol=1e-5)
        np.testing.assert_array_equal(np.reshape(whole["data"], given.shape), given)


def test_a_model_that_sorts_takes_a_third_library(
    hosted: Hosted, lib: Path, tmp_path: Path
) -> None:
    order = {
        "model": str(compile_text(TOP_TWO, tmp_path / "top.so", TARGET)),
        "library": str(tmp_path / "libtvm_runtime.so"),
        "outputs": {"best": "float32", "places": "int64"},
        "runs": [{"feeds": [{"shape": [1, 4], "dtype": "float32", "data": [[3, 9, 1, 5]]}]}],
    }
    shutil.copytree(lib, tmp_path, dirs_exist_ok=True)
    assert EXTRA_CALLS in Path(order["model"]).read_bytes()
    (run,) = hosted(**order)["runs"]
    assert run["status"] == INTERNAL
    assert "Cannot find function tvm.contrib.sort.topk" in run["error"]
    shutil.copy(package("tvm") / "lib" / EXTRA_LIBRARY, tmp_path)
    (run,) = hosted(**order)["runs"]
    assert (run["data"], run["others"][0]["data"]) == ([9, 5], [1, 3])


def test_an_output_without_room_tells_every_shape(hosted: Hosted) -> None:
    (run,) = hosted(runs=[{"feeds": [feed(2)], "room": 30}])["runs"]
    assert run["status"] == BAD_INPUT
    assert run["error"] == "output whole: has room for 30 bytes, needs 32"
    assert (run["shape"], run["others"][0]["shape"]) == ([2, 3], [2, 4])


@pytest.mark.parametrize("wrong", [feed(2, width=5), feed(2, dtype="int32")])
def test_an_input_that_does_not_fit_is_refused_and_the_next_one_runs(
    hosted: Hosted, wrong: dict[str, Any]
) -> None:
    first, second = hosted(runs=[{"feeds": [wrong]}, {"feeds": [feed(2)]}])["runs"]
    assert first["status"] == BAD_INPUT
    assert "cannot run the model" in first["error"]
    assert "\n" not in first["error"]
    assert second["status"] == 0


def test_outputs_that_are_not_the_manifests(hosted: Hosted) -> None:
    (run,) = hosted(outputs={"logits": "float32"}, runs=[{"feeds": [feed(1)]}])["runs"]
    assert (run["status"], run["error"]) == (
        BAD_INPUT,
        "the model gives 2 outputs, the manifest has 1",
    )
    other = {"logits": "float32", "whole": "int64"}
    (run,) = hosted(outputs=other, runs=[{"feeds": [feed(1)]}])["runs"]
    assert run["status"] == BAD_INPUT
    assert "'whole' has another dtype in the model" in run["error"]


@pytest.mark.parametrize("data", [b"", b"not a library", b"\x7fELF\x02\x01\x01" + bytes(57)])
def test_a_file_that_is_no_library(hosted: Hosted, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.so").write_bytes(data)
    result = hosted(model=str(tmp_path / "model.so"))
    assert result["status"] == HOST
    assert result["error"].startswith("cannot open the model: ")


def test_a_library_that_is_no_model(hosted: Hosted, plugin: Path) -> None:
    result = hosted(model=str(plugin))
    assert result["status"] == HOST
    assert "it has no function vm_load_executable" in result["error"]


def test_a_runtime_that_is_missing(hosted: Hosted, tmp_path: Path, lib: Path) -> None:
    result = hosted(library=str(tmp_path / "libtvm_runtime.so"))
    assert result["status"] == HOST
    assert "cannot load TVM's runtime: " in result["error"]
    assert "name its file with --library" in result["error"]
    shutil.copy(lib / "libtvm_ffi.so", tmp_path / "libtvm_ffi.so")
    result = hosted(library=str(tmp_path / "libtvm_runtime.so"))
    assert "libtvm_runtime.so" in result["error"]


def test_the_installed_package_can_be_named(hosted: Hosted) -> None:
    library = package("tvm") / "lib/libtvm_runtime.so"
    assert hosted(library=str(library))["status"] == 0


def test_another_version_of_the_interface_is_refused(hosted: Hosted) -> None:
    result = hosted(settings={"tvm_ffi": "0.1.13"})
    assert result["status"] == HOST
    assert f"for libtvm_ffi 0.1.13, found {ffi_release()}" in result["error"]
    result = hosted(settings={"spin": "1"})
    assert (result["status"], result["error"]) == (BAD_INPUT, "TVM has no setting spin")


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_are_as_many_as_asked_and_stay_where_the_process_may_run(
    hosted: Hosted, threads: int
) -> None:
    own = sorted(os.sched_getaffinity(0))
    pinned = own[-1:]
    result = hosted(threads=threads, affinity=pinned, runs=[{"feeds": [feed(1)]}])
    assert result["affinities"] == [pinned] * max(threads, 1)
