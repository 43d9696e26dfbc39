"""ONNX Runtime's shared library for a platform, with its licences, out of a published wheel."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bmopt.bundle.elf import require_platform
from bmopt.bundle.native import own_platform
from bmopt.bundle.wheel_download import downloaded_wheel
from bmopt.core import digest
from bmopt.core.cache_folder import cache_folder
from bmopt.core.files import atomic_folder, write_text
from bmopt.errors import BundleError

PACKAGE = "onnxruntime"
LICENCES = ("LICENSE", "ThirdPartyNotices.txt")

_LIBRARY = re.compile(r"libonnxruntime\.so\.(?P<version>\d+(\.\d+)+)")
_STAMP = "manifest.json"
_STAMP_KEY = "bmopt_runtime"
_MAX_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class RuntimeLibrary:
    """A runtime to put into a bundle: its library, its version, its licences by file name."""

    library: Path
    version: str
    licences: Mapping[str, Path]


def installed_version() -> str:
    """Return the version of the installed ONNX Runtime, empty where there is none."""
    try:
        return importlib.metadata.version(PACKAGE)
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
        found = _unpacked(given, platform)
    else:
        found = _library(given)
    require_platform(found.library, platform)
    return found


def _installed(platform: str) -> RuntimeLibrary | None:
    """Return what the installed package has, None where it is not for ``platform``."""
    package = _package()
    if package is None or platform != own_platform():
        return None
    libraries = sorted((package / "capi").glob("libonnxruntime.so.*"))
    if len(libraries) != 1 or not all((package / name).is_file() for name in LICENCES):
        return None
    return _described(libraries[0], package)


def _package() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(places[0]) if places else None


def _library(path: Path) -> RuntimeLibrary:
    """Return a library that the user named; the licences lie beside it, or one folder up."""
    if not path.is_file():
        raise BundleError(f"{path}: no such wheel or shared library of ONNX Runtime")
    places = [path.resolve().parent, path.resolve().parent.parent, _package()]
    for place in places:
        if place is not None and all((place / name).is_file() for name in LICENCES):
            return _described(path.resolve(), place)
    raise BundleError(
        f"{path}: {' and '.join(LICENCES)} of ONNX Runtime have to lie beside it, or one folder up"
    )


def _described(library: Path, licences: Path) -> RuntimeLibrary:
    match = _LIBRARY.fullmatch(library.name)
    version = "" if match is None else match["version"]
    return RuntimeLibrary(library, version, {name: licences / name for name in LICENCES})


def _fetched(platform: str) -> RuntimeLibrary:
    version = installed_version()
    folder = _place(f"{version}-{platform}")
    if not _is_whole(folder):
        with downloaded_wheel(PACKAGE, version, platform) as wheel:
            _unpack(wheel, folder)
    return _from_cache(folder)


def _unpacked(wheel: Path, platform: str) -> RuntimeLibrary:
    """Return the library in a wheel that the user named."""
    if not wheel.is_file():
        raise BundleError(f"{wheel}: no such wheel of ONNX Runtime")
    folder = _place(f"{digest.of_file(wheel)[:16]}-{platform}")
    if not _is_whole(folder):
        _unpack(wheel, folder)
    return _from_cache(folder)


def _place(name: str) -> Path:
    return cache_folder() / "runtimes" / f"{PACKAGE}-{name}"


def _from_cache(folder: Path) -> RuntimeLibrary:
    return _described(next(folder.glob("libonnxruntime.so.*")), folder)


def _is_whole(folder: Path) -> bool:
    """Whether a folder in the cache has the files that were unpacked into it, unchanged."""
    try:
        stored = (folder / _STAMP).read_text(encoding="utf-8")
        return stored == _stamp(folder)
    except OSError:
        return False


def _stamp(folder: Path) -> str:
    files = {p.name: digest.of_file(p) for p in sorted(folder.iterdir()) if p.name != _STAMP}
    lines = ",\n".join(f' "{name}": "{value}"' for name, value in files.items())
    return f'{{"{_STAMP_KEY}": {{\n{lines}\n}}}}\n'


def _unpack(wheel: Path, folder: Path) -> None:
    """Extract the library and the licences, and nothing else, into a folder of the cache."""
    try:
        with zipfile.ZipFile(wheel) as archive, atomic_folder(folder, _STAMP_KEY) as scratch:
            for member, name in _members(archive, wheel):
                if archive.getinfo(member).file_size > _MAX_BYTES:
                    raise BundleError(f"{wheel}: {name} is too large to be ONNX Runtime's")
                (scratch / name).write_bytes(archive.read(member))
            write_text(scratch / _STAMP, _stamp(scratch))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BundleError(f"{wheel}: is no wheel that can be read ({error})") from error


def _members(archive: zipfile.ZipFile, wheel: Path) -> list[tuple[str, str]]:
    names = set(archive.namelist())
    found = [(f"{PACKAGE}/{name}", name) for name in LICENCES if f"{PACKAGE}/{name}" in names]
    for member in sorted(names):
        folder, _, name = member.rpartition("/")
        if folder == f"{PACKAGE}/capi" and _LIBRARY.fullmatch(name):
            found.append((member, name))
    if len(found) != len(LICENCES) + 1:
        raise BundleError(f"{wheel}: is no wheel of ONNX Runtime with its library and licences")
    return found
