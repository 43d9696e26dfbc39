"""TVM's runtime for a bundle out of wheels, and what a compiled library says of itself."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.tvm.names import Port, Signature
from bmopt.backends.tvm.probe import PAIR
from bmopt.bundle.native import own_platform
from bmopt.bundle.runtimes import runtimes_for
from bmopt.bundle.tvm_library import require_runs_on, signature_in
from bmopt.bundle.tvm_runtime import TvmNeed, common_need, need_of, pair_of, tvm_for
from bmopt.errors import BundleError
from tests.bundle.native_double import ARM, X86, shared_library
from tests.bundle.test_runtime_libraries import fake_pip
from tests.bundle.test_runtime_libraries import write_wheel as write_ort

OTHER = ARM if own_platform() == X86 else X86
NEED = TvmNeed(PAIR, calls_extra=False)
TVM, FFI = PAIR.items()
LICENCES = {
    "apache-tvm": {"LICENSE", "NOTICE", "LICENSE.builtin_fp16.txt"},
    "apache-tvm-ffi": {"LICENSE", "NOTICE", "LICENSE.libbacktrace"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BMOPT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_wheels(
    folder: Path, platform: str = OTHER, *, without: str = "", only: str = "apache"
) -> Path:
    """Write both wheels as they are published, with what is not wanted too."""
    folder.mkdir(exist_ok=True)
    library, info = shared_library(platform), f"apache_tvm_ffi-{FFI[1]}.dist-info/licenses"
    wheels: dict[tuple[str, str], dict[str, bytes]] = {
        TVM: {
            "tvm/lib/libtvm_compiler.so": b"large",
            "tvm/lib/libtvm_runtime.so": library,
            "tvm/lib/libtvm_runtime_cuda.so": library,
            "tvm/lib/libtvm_runtime_extra.so": library,
            "tvm/LICENSE": b"tvm's",
            "tvm/NOTICE": b"notice",
            "tvm/licenses/LICENSE.builtin_fp16.txt": b"fp16",
            "tvm/licenses/LICENSE.vllm.txt": b"not in the runtime",
            "tvm/../../LICENSE": b"bad",
        },
        FFI: {
            "tvm_ffi/lib/libtvm_ffi.so": library,
            "tvm_ffi/lib/libtvm_ffi_testing.so": library,
            f"{info}/LICENSE": b"ffi's",
            f"{info}/NOTICE": b"notice",
            "tvm_ffi/3rdparty/libbacktrace/LICENSE": b"backtrace",
        },
    }
    machine = platform.removesuffix("-linux")
    for (name, version), files in wheels.items():
        path = folder / f"{name.replace('-', '_')}-{version}-py3-none-manylinux_2_28_{machine}.whl"
        if not path.name.startswith(only):
            continue
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in files.items():
                if not without or without not in member:
                    archive.writestr(member, data)
    return folder


def test_wheels_give_two_small_libraries_and_the_licences(tmp_path: Path, cache: Path) -> None:
    found = tvm_for(OTHER, NEED, write_wheels(tmp_path / "wheels"))
    names = {name: set(files.libraries) for name, files in found.items()}
    assert names == {"apache-tvm": {"libtvm_runtime.so"}, "apache-tvm-ffi": {"libtvm_ffi.so"}}
    for name, files in found.items():
        assert set(files.licences) == LICENCES[name]
        assert all(path.read_bytes() for path in files.licences.values())
        assert all(p.read_bytes() == shared_library(OTHER) for p in files.libraries.values())
    kept = {path.name for path in cache.rglob("*") if path.is_file()}
    assert not kept & {"libtvm_compiler.so", "libtvm_runtime_cuda.so", "libtvm_ffi_testing.so"}


def test_sorting_needs_a_third_library(tmp_path: Path) -> None:
    (tmp_path / "model.so").write_bytes(b"... tvm.contrib.sort.argsort ...")
    (tmp_path / "plain.so").write_bytes(b"... vm.builtin.alloc_tensor ...")
    needs = {name: need_of(tmp_path / f"{name}.so", {}) for name in ("plain", "model")}
    assert [need.calls_extra for need in needs.values()] == [False, True]
    found = tvm_for(OTHER, common_need(needs), write_wheels(tmp_path / "wheels"))
    assert set(found["apache-tvm"].libraries) == {"libtvm_runtime.so", "libtvm_runtime_extra.so"}


def test_models_of_two_versions_cannot_share_a_bundle() -> None:
    other = TvmNeed({**PAIR, "apache-tvm-ffi": "0.1.15"}, calls_extra=False)
    with pytest.raises(BundleError, match=r"b was compiled with .*0\.1\.15, a with .*compile one"):
        common_need({"a": NEED, "b": other})


def test_an_artifact_without_versions_is_of_the_tested_pair() -> None:
    assert pair_of({}) == PAIR
    assert pair_of({"apache-tvm": "1.0", "onnx": "1"})["apache-tvm"] == "1.0"


@pytest.mark.parametrize("part", ["libtvm_runtime.so", "NOTICE", "libbacktrace", "libtvm_ffi.so"])
def test_a_wheel_without_a_part_is_refused(part: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no wheel of TVM"):
        tvm_for(OTHER, NEED, write_wheels(tmp_path / "wheels", without=part))


def test_wheels_of_two_platforms_in_a_folder(tmp_path: Path) -> None:
    folder = write_wheels(write_wheels(tmp_path / "wheels", X86), ARM)
    for platform in (X86, ARM):
        assert tvm_for(platform, NEED, folder)
    (folder / f"apache_tvm-9-py3-none-{OTHER.removesuffix('-linux')}.whl").write_bytes(b"")
    with pytest.raises(BundleError, match="has several wheels of apache-tvm:"):
        tvm_for(OTHER, NEED, folder)


def test_what_is_not_given_is_downloaded_in_the_version_that_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = write_wheels(tmp_path / "wheels")
    script = (
        "import pathlib, shutil, sys; to = sys.argv[sys.argv.index('--dest') + 1]\n"
        "(package,) = [word for word in sys.argv if '==' in word]\n"
        f"assert package in {[f'{name}=={version}' for name, version in PAIR.items()]}\n"
        "stem = package.split('==')[0].replace('-', '_')\n"
        f"(wheel,) = pathlib.Path({str(wheels)!r}).glob(stem + '-*.whl')\n"
        "shutil.copy(wheel, to)\n"
    )
    fake_pip(tmp_path, script, monkeypatch)
    assert set(tvm_for(OTHER, NEED)) == set(PAIR)
    fake_pip(tmp_path, "raise SystemExit('no network')", monkeypatch)
    assert set(tvm_for(OTHER, NEED)) == set(PAIR)
    newer = TvmNeed({**PAIR, "apache-tvm": "9.9"}, calls_extra=False)
    with pytest.raises(BundleError, match=r"apache-tvm 9\.9 for .*--runtime.*--slim"):
        tvm_for(OTHER, newer)


def test_one_wheel_is_given_and_the_other_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(tmp_path, "raise SystemExit('no network')", monkeypatch)
    (wheel,) = write_wheels(tmp_path / "wheels", only="apache_tvm_ffi").iterdir()
    with pytest.raises(BundleError, match=f"apache-tvm {TVM[1]} for"):
        tvm_for(OTHER, NEED, wheel)


def runtimes(*engines: str, given: Path | None) -> dict[str, Any]:
    return dict(runtimes_for(OTHER, engines, {"model": NEED}, given))


def test_every_engine_of_a_bundle_brings_its_own(tmp_path: Path) -> None:
    folder = write_wheels(tmp_path / "wheels")
    write_ort(folder / "onnxruntime-1.99.0-x.whl")
    found = runtimes("onnxruntime", "tvm", given=folder)
    assert list(found) == ["onnxruntime", "apache-tvm", "apache-tvm-ffi"]
    assert set(found["onnxruntime"].libraries) == {"libonnxruntime.so.1"}
    assert runtimes("tensorrt", given=None) == {}


def test_a_file_for_another_engine_is_refused(tmp_path: Path) -> None:
    wheel = write_ort(tmp_path / "ort.whl")
    with pytest.raises(BundleError, match="is no wheel of TVM's, nor a folder with both"):
        runtimes("tvm", given=wheel)
    with pytest.raises(BundleError, match="no such wheel"):
        runtimes("tvm", given=tmp_path / "missing.whl")


def test_a_signature_is_read_without_tvm(tmp_path: Path) -> None:
    port = Port("x", "float32", ("n", 3))
    signature = Signature((port,), (port,), "aarch64", ("asimddp",), "0.27")
    broken = b'\x7fELF {"architecture": "x86_64", "flags": 3} \xff'
    path = tmp_path / "model.so"
    path.write_bytes(broken + signature.to_json().encode() + b'\0"}')
    assert signature_in(path) == signature
    path.write_bytes(broken)
    with pytest.raises(BundleError, match="no library that bmopt compiled with TVM"):
        signature_in(path)
    with pytest.raises(BundleError, match="cannot be read"):
        signature_in(tmp_path / "missing.so")


def test_a_library_is_for_one_platform(tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    path.write_bytes(shared_library(ARM))
    require_runs_on(path, ARM)
    with pytest.raises(BundleError, match=f"is for {ARM}, and the bundle .*tvm-fp32:x86-avx2"):
        require_runs_on(path, X86)
    path.write_bytes(b"\x7fELF\x01\x01 of 32 bits")
    with pytest.raises(BundleError, match=r"is no shared library for .*tvm-fp32:cortex-a72"):
        require_runs_on(path, ARM)
