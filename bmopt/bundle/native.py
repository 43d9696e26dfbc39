"""The native runner that is part of bmopt: where it is, for each platform."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from bmopt.bundle import layout
from bmopt.core.host import architecture
from bmopt.errors import BundleError

_FOLDER = "native"
_HEADERS = {
    "onnxruntime": ("ONNX Runtime's", "install libonnxruntime-dev or set ORT_ROOT"),
    "tvm": ("TVM's", "pip install 'bmopt[tvm]' or set TVM_FFI_ROOT"),
}
"""Engine -> whose headers its plugin is built with, and how to have them."""


def own_platform() -> str:
    """Return the platform that this host is, whether there are bundles for it or not."""
    return f"{architecture()}-linux"


def installed_folder() -> Path:
    """Return the folder of the installed package that holds its compiled parts."""
    found = importlib.util.find_spec("bmopt._ext")
    if found is None or found.origin is None:
        raise BundleError("bmopt's compiled parts are missing; install bmopt again")
    return Path(found.origin).parent


def native_folder(platform: str) -> Path:
    """Return the folder with ``bin``, ``lib`` and ``include`` of the runner for ``platform``.

    Raises:
        BundleError: It is not installed; the message tells how to build it.
    """
    folder = installed_folder() / _FOLDER / platform
    wanted = (
        f"{layout.BIN}/{layout.RUNNER}",
        f"{layout.LIB}/{layout.RUNNER_LIBRARY}",
        f"{layout.INCLUDE}/{layout.HEADER}",
    )
    if not all((folder / name).is_file() for name in wanted):
        make, needs = _how(platform)
        raise BundleError(
            f"the native runner for {platform} is not installed: run `{make}` in a checkout of "
            f"bmopt ({needs})"
        )
    return folder


def engine_libraries(folder: Path, engines: Sequence[str], platform: str) -> dict[str, Path]:
    """Return engine -> its plugin, of those that the runner was built with.

    Raises:
        BundleError: The plugin of ONNX Runtime or TVM is missing, whose headers anybody can have.
    """
    paths = {name: folder / layout.LIB / layout.engine_library(name) for name in engines}
    found = {name: path for name, path in paths.items() if path.is_file()}
    for engine, (whose, how) in _HEADERS.items():
        if engine in engines and engine not in found:
            make, _ = _how(platform)
            raise BundleError(
                f"the native runner for {platform} was built without {whose} headers: {how}, and "
                f"run `{make}` in a checkout of bmopt"
            )
    return found


def _how(platform: str) -> tuple[str, str]:
    if platform == own_platform():
        return "make runner", "it needs CMake, a C++ compiler and ONNX Runtime's headers"
    short = platform.partition("-")[0]
    return f"make runner-{short}", f"it needs g++-{short.replace('_', '-')}-linux-gnu"
