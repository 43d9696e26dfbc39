"""ONNX Runtime's shared library for a platform, with its licences, out of a published wheel."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from bmopt.bundle.elf import require_platform
from bmopt.bundle.native import own_platform
from bmopt.bundle.wheel_files import (
    WheelFiles,
    WheelPackage,
    fetched_files,
    installed_files,
    unpacked_files,
)
from bmopt.errors import BundleError

LICENCES = ("LICENSE", "ThirdPartyNotices.txt")

PACKAGE = WheelPackage(
    "onnxruntime",
    "ONNX Runtime",
    ("onnxruntime/capi/libonnxruntime.so.*",),
    {name: f"onnxruntime/{name}" for name in LICENCES},
)

_LIBRARY = re.compile(r"libonnxruntime\.so\.(?P<version>\d+(\.\d+)+)")


@dataclasses.dataclass(frozen=True)
class RuntimeLibrary:
    """A runtime to put into a bundle: its library, its version, its licences by file name."""

    library: Path
    version: str
    licences: Mapping[str, Path]


def installed_version() -> str:
    """Return the version of the installed ONNX Runtime, empty where there is none."""
    try:
        return importlib.metadata.version(PACKAGE.name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def onnxruntime_for(platform: str, given: Path | None = None) -> RuntimeLibrary:
    """Return ONNX Runtime for ``platform``, of the version that is installed here.

    This host's comes out of the installed package. Another platform's is taken from its wheel,
    which is downloaded once and kept in the cache.

    Args:
        platform: The bundle's.
        given: A wheel of ONNX Runtime, or its shared library, to take instead.

    Raises:
        BundleError: It cannot be had; the message tells how to give it.
    """
    if given is None:
        found = _installed(platform) or _fetched(platform)
    elif given.suffix == ".whl":
        found = _of_wheel(unpacked_files(PACKAGE, given, platform))
    else:
        found = _library(given)
    require_platform(found.library, platform)
    return found


def _installed(platform: str) -> RuntimeLibrary | None:
    """Return what the installed package has, None where it is not for ``platform``."""
    package = _package()
    if package is None or platform != own_platform():
        return None
    found = installed_files(PACKAGE, package.parent)
    return None if found is None else _of_wheel(found)


def _package() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE.name)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(places[0]) if places else None


def _fetched(platform: str) -> RuntimeLibrary:
    return _of_wheel(fetched_files(PACKAGE, installed_version(), platform))


def _library(path: Path) -> RuntimeLibrary:
    """Return a library that the user named; the licences lie beside it, or one folder up."""
    if not path.is_file():
        raise BundleError(f"{path}: no such wheel or shared library of ONNX Runtime")
    places = [path.resolve().parent, path.resolve().parent.parent, _package()]
    for place in places:
        if place is not None and all((place / name).is_file() for name in LICENCES):
            return _described(path.resolve(), {name: place / name for name in LICENCES})
    raise BundleError(
        f"{path}: {' and '.join(LICENCES)} of ONNX Runtime have to lie beside it, or one folder up"
    )


def _of_wheel(files: WheelFiles) -> RuntimeLibrary:
    (library,) = files.libraries.values()
    return _described(library, files.licences)


def _described(library: Path, licences: Mapping[str, Path]) -> RuntimeLibrary:
    match = _LIBRARY.fullmatch(library.name)
    return RuntimeLibrary(library, "" if match is None else match["version"], licences)
