from __future__ import annotations

import ctypes
import ctypes.util
import sys
import types
from pathlib import Path

import onnxruntime as ort
import pytest

from bmopt.backends.onnxruntime import libraries
from bmopt.backends.onnxruntime.libraries import lacks, load, nvinfer_version
from tests.backends.fake_hosts import host
from tests.backends.onnxruntime.pretend_gpu import with_gpu

ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


def gpu_build(monkeypatch: pytest.MonkeyPatch, folder: Path, *, cuda: bool) -> None:
    """Make this a GPU build of ONNX Runtime on a host with a GPU and, if so, CUDA."""
    (folder / "capi").mkdir()
    provider = folder / "capi" / "libonnxruntime_providers_tensorrt.so"
    # As readelf -d shows it of the provider in the wheel of 1.31.1.
    linked = ("libcublas", "libnvinfer", "libnvonnxparser", "libcudart", "libcudnn")
    versions = {"libcudnn": 97, "libcudart": 99, "libcublas": 99}
    names = (f"{name}.so.{versions.get(name, 98)}".encode() for name in linked)
    provider.write_bytes(b"\x7fELF\0" + b"\0".join(names) + b"\0libnvinfer.so.98\0")

    def preload() -> None:
        if not cuda:
            print("Failed to load /lib/nvidia/libcublasLt.so.99: loads later from elsewhere")
            print("Failed to load libcudart.so.99: no such file")
            print("Failed to load libcublas.so.99: libcublasLt.so.99: no such file")

    monkeypatch.setattr(ort, "__file__", str(folder / "__init__.py"))
    monkeypatch.setattr(ort, "cuda_version", "99.0", raising=False)
    monkeypatch.setattr(ort, "preload_dlls", preload, raising=False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(libraries, "host_facts", with_gpu)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_build_without_the_provider(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    reason = lacks(device)
    assert reason.startswith("this ONNX Runtime has no ")
    assert "onnxruntime-gpu" in reason
    assert "\n" not in reason


def test_a_host_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(libraries, "host_facts", lambda: host("x86_64"))
    assert lacks("cuda") == "no NVIDIA GPU (neither nvidia-smi nor CUDA's driver knows one)"


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_library_of_cuda_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    device: str,
) -> None:
    gpu_build(monkeypatch, tmp_path, cuda=False)
    install = f"pip install 'onnxruntime-gpu[cuda,cudnn]=={ort.__version__}'"
    assert lacks(device) == f"libcudart.so.99 is missing ({install})"
    assert capsys.readouterr().out == ""


def test_what_the_tensorrt_provider_is_linked_to_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu_build(monkeypatch, tmp_path, cuda=True)
    assert lacks("cuda") == ""
    assert lacks("tensorrt").startswith("libcudnn.so.97 is missing")
    monkeypatch.setattr(libraries, "load", lambda name: None if "nvinfer" in name else object())
    assert lacks("tensorrt") == "libnvinfer.so.98 is missing (pip install 'tensorrt-cu99==98.*')"
    monkeypatch.setattr(libraries, "load", lambda name: None if "parser" in name else object())
    assert lacks("tensorrt").startswith("libnvonnxparser.so.98 is missing (pip install 'tensorrt-")
    loaded: list[str] = []
    monkeypatch.setattr(libraries, "load", lambda name: loaded.append(name) or object())
    assert lacks("tensorrt") == ""
    assert loaded == ["libcudnn.so.97", "libnvinfer.so.98", "libnvonnxparser.so.98"]


def test_a_version_that_loads_nothing_beforehand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu_build(monkeypatch, tmp_path, cuda=False)
    monkeypatch.delattr(ort, "preload_dlls")
    assert lacks("cuda") == ""


def test_the_version_of_tensorrt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ort, "__file__", str(tmp_path / "nowhere" / "__init__.py"))
    assert nvinfer_version() is None
    gpu_build(monkeypatch, tmp_path, cuda=True)
    assert nvinfer_version() is None
    told = types.SimpleNamespace(getInferLibVersion=lambda: 980100)
    monkeypatch.setattr(libraries, "load", lambda name: told if "nvinfer" in name else None)
    assert nvinfer_version() == 980100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of Linux' libraries")
def test_libraries_of_the_system_and_of_wheels_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("this system does not tell where its libraries lie")
    assert load(library) is not None
    assert load("libbmopt-test.so.1") is None
    (tmp_path / "tensorrt_libs").mkdir()
    (tmp_path / "tensorrt_libs" / "__init__.py").touch()
    extension = Path(__import__("bmopt._ext", fromlist=["_ext"]).__file__)
    (tmp_path / "tensorrt_libs" / "libbmopt-test.so.1").symlink_to(extension)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("libbmopt-test.so.1") is not None
