from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import types
from typing import Any

import pytest

from bmopt.backends.nvinfer import sdk
from bmopt.errors import HostError


def _installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(package: str) -> str:
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(importlib.metadata, "version", version)


def _importing(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    def import_module(name: str) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_an_sdk_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _installed(monkeypatch, {})
    assert not sdk.find("trt")
    assert sdk.version("trt") == ""
    assert sdk.release("trt") == ()
    _importing(monkeypatch, ModuleNotFoundError("no module"))
    with pytest.raises(
        HostError, match=r"^TensorRT is not installed \(pip install 'bmopt\[trt\]'"
    ):
        sdk.load("trt")


def test_an_sdk_whose_libraries_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    _importing(monkeypatch, ImportError("libnvinfer.so.11:\n cannot open"))
    with pytest.raises(HostError) as caught:
        sdk.load("rtx")
    assert str(caught.value).startswith(
        "TensorRT-RTX cannot be loaded (libnvinfer.so.11: cannot open); install it again"
    )


@pytest.mark.parametrize("package", ["tensorrt", "tensorrt_cu12", "tensorrt_cu13"])
def test_the_version_comes_from_whichever_package_is_there(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    _installed(monkeypatch, {package: "10.16.1"})
    assert sdk.version("trt") == "10.16.1"
    assert sdk.release("trt") == (10, 16)


def test_the_version_of_a_module_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed(monkeypatch, {})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    _importing(monkeypatch, types.SimpleNamespace(__version__="11.4.1"))
    assert sdk.version("trt") == "11.4.1"
    assert sdk.release("trt") == (11, 4)


def test_the_real_one_is_found_and_loaded() -> None:
    pytest.importorskip("tensorrt_rtx")
    assert sdk.find("rtx")
    assert sdk.version("rtx").startswith(".".join(map(str, sdk.release("rtx"))))
    assert sdk.load("rtx").__version__ == sdk.version("rtx")
