"""Shared libraries and licences of a published wheel: installed, given by the user, fetched."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bmopt.bundle.wheel_download import downloaded_wheel
from bmopt.core import digest
from bmopt.core.cache_folder import cache_folder
from bmopt.core.files import atomic_folder, write_text
from bmopt.errors import BundleError

_STAMP = "manifest.json"
_STAMP_KEY = "bmopt_runtime"
_MAX_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class WheelPackage:
    """What is wanted of a package's wheel; paths are patterns below where it is installed.

    Attributes:
        name: The package's.
        title: What people call it.
        libraries: Pattern of each shared library.
        licences: File name in a bundle -> pattern of each licence.
    """

    name: str
    title: str
    libraries: tuple[str, ...]
    licences: Mapping[str, str]

    @property
    def wheel_stem(self) -> str:
        """How the names of its wheels begin."""
        return f"{self.name.replace('-', '_')}-"


@dataclasses.dataclass(frozen=True)
class WheelFiles:
    """The files of a package: by file name, its libraries and its licences."""

    libraries: Mapping[str, Path]
    licences: Mapping[str, Path]


def installed_files(package: WheelPackage, root: Path) -> WheelFiles | None:
    """Return what is installed below the folder ``root``, None where a part is missing."""
    libraries = [path for part in package.libraries for path in sorted(root.glob(part))]
    licences = {name: sorted(root.glob(part)) for name, part in package.licences.items()}
    if len(libraries) != len(package.libraries) or not all(licences.values()):
        return None
    return WheelFiles(
        {path.name: path for path in libraries},
        {name: paths[0] for name, paths in licences.items()},
    )


def fetched_files(package: WheelPackage, version: str, platform: str) -> WheelFiles:
    """Return what a version's wheel for ``platform`` has, downloaded once and kept in the cache.

    Raises:
        BundleError: It cannot be had; the message tells how to give it.
    """
    folder = _place(package, f"{version}-{platform}")
    if not _is_whole(folder):
        with downloaded_wheel(package.name, version, platform) as wheel:
            _unpack(package, wheel, folder)
    return _from_cache(package, folder)


def unpacked_files(package: WheelPackage, wheel: Path, platform: str) -> WheelFiles:
    """Return what is in a wheel that the user named.

    Raises:
        BundleError: It is missing, damaged, or of another package.
    """
    if not wheel.is_file():
        raise BundleError(f"{wheel}: no such wheel of {package.title}")
    folder = _place(package, f"{digest.of_file(wheel)[:16]}-{platform}")
    if not _is_whole(folder):
        _unpack(package, wheel, folder)
    return _from_cache(package, folder)


def _place(package: WheelPackage, name: str) -> Path:
    return cache_folder() / "runtimes" / f"{package.name}-{name}"


def _from_cache(package: WheelPackage, folder: Path) -> WheelFiles:
    names = (PurePosixPath(part).name for part in package.libraries)
    libraries = [path for name in names for path in sorted(folder.glob(name))]
    return WheelFiles(
        {path.name: path for path in libraries},
        {name: folder / name for name in package.licences},
    )


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


def _unpack(package: WheelPackage, wheel: Path, folder: Path) -> None:
    """Extract the libraries and the licences, and nothing else, into a folder of the cache."""
    try:
        with zipfile.ZipFile(wheel) as archive, atomic_folder(folder, _STAMP_KEY) as scratch:
            for member, name in _members(package, archive, wheel):
                if archive.getinfo(member).file_size > _MAX_BYTES:
                    raise BundleError(f"{wheel}: {name} is too large to be {package.title}'s")
                (scratch / name).write_bytes(archive.read(member))
            write_text(scratch / _STAMP, _stamp(scratch))
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BundleError(f"{wheel}: is no wheel that can be read ({error})") from error


def _members(
    package: WheelPackage, archive: zipfile.ZipFile, wheel: Path
) -> list[tuple[str, str]]:
    """Return (path in the wheel, file name) of everything wanted."""
    names = sorted(archive.namelist())
    found = []
    for part in package.libraries:
        found += [(name, PurePosixPath(name).name) for name in names if _is_at(name, part)]
    for licence, part in package.licences.items():
        found += [(name, licence) for name in names if _is_at(name, part)][:1]
    if len(found) != len(package.libraries) + len(package.licences):
        raise BundleError(f"{wheel}: is no wheel of {package.title} with its library and licences")
    return found


def _is_at(name: str, pattern: str) -> bool:
    path, wanted = PurePosixPath(name), PurePosixPath(pattern)
    return len(path.parts) == len(wanted.parts) and path.match(pattern)
