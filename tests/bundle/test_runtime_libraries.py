"""ONNX Runtime's library: from the installed package, from wheels, from what the user names."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from bmopt.bundle import runtime_libraries, wheel_download
from bmopt.bundle.native import own_platform
from bmopt.bundle.runtime_libraries import installed_version, onnxruntime_for
from bmopt.errors import BundleError, IsolatedToolError
from tests.bundle.native_double import ARM, X86, shared_library

OTHER = ARM if own_platform() == X86 else X86
NAMES = ("LICENSE", "ThirdPartyNotices.txt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_wheel(path: Path, platform: str = OTHER, *, without: str = "", more: str = "") -> Path:
    files = {
        "onnxruntime/LICENSE": b"licence",
        "onnxruntime/ThirdPartyNotices.txt": b"notices",
        "onnxruntime/capi/libonnxruntime.so.1.99.0": shared_library(platform),
        "onnxruntime/capi/libonnxruntime_providers_shared.so": b"not wanted",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            if not without or without not in name:
                archive.writestr(name, data)
        if more:
            archive.writestr(more, b"more")
    return path


@pytest.mark.skipif(own_platform() not in (X86, ARM), reason="no bundles for this host")
def test_the_hosts_own_is_the_installed_packages() -> None:
    found = onnxruntime_for(own_platform())
    assert found.library.name.endswith(found.version)
    assert found.version == installed_version()
    assert sorted(found.licences) == sorted(NAMES)


def test_a_wheel_gives_the_library_and_the_licences_and_nothing_else(
    tmp_path: Path, cache: Path
) -> None:
    found = onnxruntime_for(OTHER, write_wheel(tmp_path / "ort.whl", more="onnxruntime/../../x"))
    assert found.version == "1.99.0"
    assert found.library.read_bytes() == shared_library(OTHER)
    assert {name: path.read_text() for name, path in found.licences.items()} == {
        "LICENSE": "licence",
        "ThirdPartyNotices.txt": "notices",
    }
    files = sorted(path.name for path in cache.rglob("*") if path.is_file())
    assert files == sorted([*NAMES, "libonnxruntime.so.1.99.0", "manifest.json"])


def test_a_damaged_copy_in_the_cache_is_made_again(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "ort.whl")
    first = onnxruntime_for(OTHER, wheel).library
    first.write_bytes(b"damaged")
    assert onnxruntime_for(OTHER, wheel).library.read_bytes() == shared_library(OTHER)


@pytest.mark.parametrize("part", ["LICENSE", "ThirdPartyNotices", "libonnxruntime.so"])
def test_a_wheel_without_a_part_is_refused(part: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no wheel of ONNX Runtime"):
        onnxruntime_for(OTHER, write_wheel(tmp_path / "ort.whl", without=part))


def test_a_wheel_for_another_platform_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "ort.whl", X86)
    with pytest.raises(BundleError, match=f"is for {X86}, and the bundle is for {ARM}"):
        onnxruntime_for(ARM, wheel)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and no more"])
def test_what_is_no_wheel_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "ort.whl").write_bytes(data)
    with pytest.raises(BundleError, match="no wheel that can be read"):
        onnxruntime_for(OTHER, tmp_path / "ort.whl")
    with pytest.raises(BundleError, match="no such wheel"):
        onnxruntime_for(OTHER, tmp_path / "missing.whl")


def test_a_library_that_the_user_names_needs_its_licences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_libraries, "_package", lambda: None)
    library = tmp_path / "lib" / "libonnxruntime.so.1.98.1"
    library.parent.mkdir()
    library.write_bytes(shared_library(OTHER))
    with pytest.raises(BundleError, match="have to lie beside it"):
        onnxruntime_for(OTHER, library)
    for name in NAMES:
        (tmp_path / name).write_text(name)
    found = onnxruntime_for(OTHER, library)
    assert (found.version, found.licences["LICENSE"]) == ("1.98.1", tmp_path / "LICENSE")


def fake_pip(folder: Path, script: str, patch: pytest.MonkeyPatch) -> None:
    """Have a script run in pip's place; what it is told stands in its arguments."""
    program = folder / "pip.py"
    program.write_text(script)
    command = wheel_download._command

    def run(*given: str) -> list[str]:
        return [sys.executable, str(program), *command(*given)[1:]]

    patch.setattr(wheel_download, "_command", run)


def test_another_platforms_is_downloaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path / "ort.whl")
    script = (
        "import shutil, sys; to = sys.argv[sys.argv.index('--dest') + 1]\n"
        f"assert 'onnxruntime=={installed_version()}' in sys.argv\n"
        f"assert 'manylinux_2_28_{OTHER.removesuffix('-linux')}' in sys.argv\n"
        f"shutil.copy({str(wheel)!r}, to)\n"
    )
    fake_pip(tmp_path, script, monkeypatch)
    first = onnxruntime_for(OTHER)
    fake_pip(tmp_path, "raise SystemExit(1)", monkeypatch)
    assert onnxruntime_for(OTHER) == first


def test_a_download_that_fails_tells_what_else_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, "raise SystemExit('no network')", monkeypatch)
    with pytest.raises(BundleError, match=r"no network.*--runtime.*--slim") as caught:
        onnxruntime_for(OTHER)
    assert isinstance(caught.value.__cause__, IsolatedToolError)
    fake_pip(tmp_path, "pass", monkeypatch)
    with pytest.raises(BundleError, match=f"no wheel for {OTHER}"):
        onnxruntime_for(OTHER)
