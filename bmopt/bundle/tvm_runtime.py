"""TVM's runtime for a platform: two small shared libraries out of two large wheels."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from bmopt.backends.tvm.probe import PAIR
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

EXTRA_LIBRARY = "libtvm_runtime_extra.so"
"""Sorting and random numbers, which few models call."""

EXTRA_CALLS = b"tvm.contrib."
"""How the names of its functions begin, as they stand in a model's library."""

RUNTIME = WheelPackage(
    "apache-tvm",
    "TVM",
    ("tvm/lib/libtvm_runtime.so", f"tvm/lib/{EXTRA_LIBRARY}"),
    {
        "LICENSE": "tvm/LICENSE",
        "NOTICE": "tvm/NOTICE",
        "LICENSE.builtin_fp16.txt": "tvm/licenses/LICENSE.builtin_fp16.txt",
    },
)
FFI = WheelPackage(
    "apache-tvm-ffi",
    "TVM's foreign function interface",
    ("tvm_ffi/lib/libtvm_ffi.so",),
    {
        "LICENSE": "apache_tvm_ffi-*.dist-info/licenses/LICENSE",
        "NOTICE": "apache_tvm_ffi-*.dist-info/licenses/NOTICE",
        "LICENSE.libbacktrace": "tvm_ffi/3rdparty/libbacktrace/LICENSE",
    },
)

_MODULES = {RUNTIME.name: "tvm", FFI.name: "tvm_ffi"}
_PACKAGES = (RUNTIME, FFI)


@dataclasses.dataclass(frozen=True)
class TvmNeed:
    """What the models of a bundle want of TVM.

    Attributes:
        versions: Package -> its version, of the pair that compiled them.
        calls_extra: Whether one of them calls a function of ``EXTRA_LIBRARY``.
    """

    versions: Mapping[str, str]
    calls_extra: bool


def pair_of(versions: Mapping[str, str]) -> dict[str, str]:
    """Return package -> version from an artifact's versions; the tested pair's where it has none.

    TVM that was built from source has no package that tells.
    """
    return {name: versions.get(name) or version for name, version in PAIR.items()}


def need_of(library: Path, versions: Mapping[str, str]) -> TvmNeed:
    """Return what the compiled model in the file ``library`` wants.

    Raises:
        BundleError: It cannot be read.
    """
    try:
        calls_extra = EXTRA_CALLS in library.read_bytes()
    except OSError as error:
        raise BundleError(f"{library}: cannot be read ({error.strerror})") from error
    return TvmNeed(pair_of(versions), calls_extra)


def common_need(needs: Mapping[str, TvmNeed]) -> TvmNeed:
    """Return what the models of one bundle want together; ``needs`` are by the models' names.

    Raises:
        BundleError: They were compiled by different versions.
    """
    first_name, first = next(iter(needs.items()))
    for name, need in needs.items():
        if need.versions != first.versions:
            raise BundleError(
                f"{name} was compiled with {_text(need.versions)}, {first_name} with "
                f"{_text(first.versions)}: pack them by themselves, or compile one again"
            )
    return TvmNeed(first.versions, any(need.calls_extra for need in needs.values()))


def tvm_for(platform: str, need: TvmNeed, given: Path | None = None) -> dict[str, WheelFiles]:
    """Return TVM's runtime for ``platform``, by package.

    This host's comes out of the installed packages where they are of the wanted versions. Others
    are taken from wheels, which are downloaded once; what is kept is a hundredth of them.

    Args:
        platform: The bundle's.
        need: The versions.
        given: A folder with both wheels, or one of them, to take instead.

    Raises:
        BundleError: It cannot be had; the message tells how to give it.
    """
    found = {}
    for package in _PACKAGES:
        version = need.versions[package.name]
        files = _files(package, version, platform, _wheel(package, platform, given))
        for library in files.libraries.values():
            require_platform(library, platform)
        found[package.name] = files if need.calls_extra else _without_extra(files)
    return found


def is_tvm(given: Path) -> bool:
    """Whether what ``--runtime`` names is for TVM: one of its wheels, or a folder of wheels."""
    return given.is_dir() or given.name.startswith(tuple(p.wheel_stem for p in _PACKAGES))


def _files(package: WheelPackage, version: str, platform: str, wheel: Path | None) -> WheelFiles:
    if wheel is not None:
        return unpacked_files(package, wheel, platform)
    return _installed(package, version, platform) or fetched_files(package, version, platform)


def _wheel(package: WheelPackage, platform: str, given: Path | None) -> Path | None:
    """Return the wheel that the user gave of a package, None where there is none."""
    if given is None:
        return None
    if not given.is_dir():
        return given if given.name.startswith(package.wheel_stem) else None
    machine = platform.removesuffix("-linux")
    found = sorted(given.glob(f"{package.wheel_stem}*{machine}*.whl"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BundleError(f"{given}: has several wheels of {package.name}: {names}")
    return found[0] if found else None


def _installed(package: WheelPackage, version: str, platform: str) -> WheelFiles | None:
    """Return what is installed, None where it is of another version or platform."""
    if platform != own_platform():
        return None
    try:
        own = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    spec = importlib.util.find_spec(_MODULES[package.name])
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return installed_files(package, Path(places[0]).parent) if places and own == version else None


def _without_extra(files: WheelFiles) -> WheelFiles:
    libraries = {name: path for name, path in files.libraries.items() if name != EXTRA_LIBRARY}
    return WheelFiles(libraries, files.licences)


def _text(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())
