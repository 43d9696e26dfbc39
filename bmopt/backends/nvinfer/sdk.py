"""The two SDKs behind one API: whether they are installed, their versions, their modules."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util

from bmopt.backends.nvinfer.engine_file import SDK_NAMES
from bmopt.backends.nvinfer.native import Native
from bmopt.errors import HostError

SDK_MODULES = {"trt": "tensorrt", "rtx": "tensorrt_rtx"}
"""Engine -> its Python module."""

_PACKAGES = {
    "trt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_cu13", "tensorrt_rtx_cu12"),
}
"""Engine -> the packages that bring the module, the usual one first."""


def name_of(engine: str) -> str:
    """Return what to call an engine in messages."""
    return SDK_NAMES["rtx" if engine == "rtx" else "trt"]


def find(engine: str) -> bool:
    """Return whether the SDK is installed, without importing it."""
    return importlib.util.find_spec(SDK_MODULES[engine]) is not None


def missing(engine: str) -> str:
    """Return that the SDK is not installed, and how to install it."""
    return f"{name_of(engine)} is not installed (pip install 'bmopt[{engine}]')"


def load(engine: str) -> Native:
    """Import the SDK of ``trt`` or ``rtx`` and return its module.

    Raises:
        HostError: It is not installed, or its libraries cannot be loaded.
    """
    try:
        return importlib.import_module(SDK_MODULES[engine])
    except ModuleNotFoundError as error:
        raise HostError(missing(engine)) from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HostError(
            f"{name_of(engine)} cannot be loaded ({reason}); "
            f"install it again (pip install --force-reinstall 'bmopt[{engine}]')"
        ) from error


def version(engine: str) -> str:
    """Return the installed version without importing the SDK where possible, else empty."""
    for package in _PACKAGES[engine]:
        found = _package_version(package)
        if found:
            return found
    try:
        return str(getattr(load(engine), "__version__", "")) if find(engine) else ""
    except HostError:
        return ""


def _package_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def release(engine: str) -> tuple[int, ...]:
    """Return the first two numbers of the installed version, nothing where there is none."""
    return release_of(version(engine))


def release_of(version: str) -> tuple[int, ...]:
    """Return ``(10, 13)`` for ``"10.13.2.6"``, nothing for what is no version."""
    numbers = version.split(".")[:2]
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else ()
