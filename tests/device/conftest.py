"""The native runner as it is installed, here and for AArch64, and bundles made with it."""

from __future__ import annotations

import dataclasses
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bmopt.bundle import native
from bmopt.errors import BundleError
from bmopt.workflow.packaging import PackageOptions, package
from tests.runner.emulated import QEMU, emulator
from tests.turns import alone
from tests.workflow.demo_runs import compile_demo

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "cpp_ext/runner"
PREFIX = ROOT / "build/runner-device"
TOOLCHAIN = SOURCE / "toolchains/aarch64-linux-gnu.cmake"
CROSS = "aarch64-linux-gnu-gcc"
X86, ARM = "x86_64-linux", "aarch64-linux"


@dataclasses.dataclass(frozen=True)
class Device:
    """Something that runs a bundle.

    Attributes:
        platform: What bundles are made for.
        target: What its artifacts are compiled for.
        before: What stands before a command of its own.
        compiler: What makes programs for it.
    """

    platform: str
    target: str
    before: tuple[str, ...]
    compiler: str

    def run(self, *command: object) -> subprocess.CompletedProcess[str]:
        words = [*self.before, *map(str, command)]
        return subprocess.run(words, capture_output=True, text=True, env={}, check=False)


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def install_runner(name: str, *options: str) -> None:
    """Build the runner and install it below ``PREFIX``; skip where ONNX Runtime's header lacks."""
    build = PREFIX / f"build-{name}"
    configure = ["cmake", "-S", str(SOURCE), "-B", str(build), "-DBMOPT_WERROR=ON", *options]
    configure += [f"-DBMOPT_RUNNER_PYTHON={sys.executable}"]
    with alone("runner-device"):
        _installed(build, configure)


def _installed(build: Path, configure: list[str]) -> None:
    found = subprocess.run(configure, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    if "no onnxruntime_c_api.h" in found.stdout:
        pytest.skip("ONNX Runtime's C header not found: libonnxruntime-dev, or set ORT_ROOT")
    for step in (
        ["--build", str(build), "--parallel", "2"],
        ["--install", str(build), "--prefix", str(PREFIX)],
    ):
        done = subprocess.run(["cmake", *step], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def host() -> Device:
    """This host."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("needs Linux on x86-64")
    need("cmake", "c++", "cc", "make")
    install_runner("host")
    return Device(X86, "ort-int8", (), "cc")


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A box with an AArch64 processor: qemu's."""
    need("cmake", "make", CROSS, "aarch64-linux-gnu-g++", QEMU)
    install_runner("aarch64", f"-DCMAKE_TOOLCHAIN_FILE={TOOLCHAIN}")
    _, *options = emulator(tmp_path_factory.mktemp("root"))
    before = (shutil.which(QEMU) or QEMU, "-cpu", "max", *options)
    return Device(ARM, "ort-int8:arm64-dotprod", before, CROSS)


Pack = Callable[..., Path]


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pack:
    """Return what compiles the demo's model for a device and packs it into a folder.

    ``options`` are fields of ``PackageOptions``.
    """
    monkeypatch.setattr(native, "installed_folder", lambda: PREFIX)

    def packed(device: Device, out: Path, *, targets: Sequence[str] = (), **options: Any) -> Path:
        artifacts = []
        for number, target in enumerate(targets or (device.target,)):
            compile_demo(tmp_path / f"artifact{number}", target=target)
            artifacts.append(tmp_path / f"artifact{number}")
        return packaged(artifacts, PackageOptions(device.platform, **options), out)

    return packed


def packaged(artifacts: Sequence[Path], options: PackageOptions, out: Path) -> Path:
    """Pack artifacts; skip where another platform's libraries cannot be downloaded."""
    try:
        return package(artifacts, options, out).path
    except BundleError as error:
        if "download" in str(error):
            pytest.skip(str(error))
        raise
