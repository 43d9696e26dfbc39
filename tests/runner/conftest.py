from __future__ import annotations

import dataclasses
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runner.emulated import QEMU, emulator
from tests.turns import alone

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "cpp_ext/runner"
BUILD = ROOT / "build/runner-tests"
CROSS_CXX = "aarch64-linux-gnu-g++"
UNIT_TARGETS = ("runner_unit_tests",)
FUZZ_TARGETS = ("runner_fuzz_manifest", "runner_fuzz_npy")
TARGETS = (
    *UNIT_TARGETS,
    *FUZZ_TARGETS,
    "runner_check_bundle",
    "runner_abi_test",
)
PLUGIN = "bm_engine_onnxruntime"


@dataclasses.dataclass(frozen=True)
class Build:
    """Where the runner was built, with sanitizers where the host's compiler did it."""

    folder: Path
    has_onnxruntime: bool

    @property
    def plugin(self) -> Path:
        return self.folder / f"lib{PLUGIN}.so"

    def program(self, name: str) -> Path:
        return next(self.folder.glob(f"*/{name}"))

    def run(
        self, name: str, *arguments: object, prefix: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        command = [*prefix, str(self.program(name)), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )


def build(folder: Path, targets: tuple[str, ...], *options: str) -> Build:
    command = [
        "cmake",
        "-S",
        str(SOURCE),
        "-B",
        str(folder),
        "-DBMOPT_RUNNER_TESTS=ON",
        "-DBMOPT_WERROR=ON",
        "-DCMAKE_BUILD_TYPE=Debug",
        *options,
    ]
    with alone("runner-tests"):
        return _built(folder, targets, command)


def _built(folder: Path, targets: tuple[str, ...], configure: list[str]) -> Build:
    found = subprocess.run(configure, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    has_onnxruntime = "no onnxruntime_c_api.h" not in found.stdout
    wanted = (*targets, PLUGIN) if has_onnxruntime else targets
    command = ["cmake", "--build", str(folder), "--parallel", "2", "--target", *wanted]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return Build(folder, has_onnxruntime)


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


@pytest.fixture(scope="session")
def native() -> Build:
    """The runner's tests, with AddressSanitizer and UBSan."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the native runner is for Linux on x86-64 and AArch64")
    _need("cmake", "c++", "make")
    return build(
        BUILD / "host",
        TARGETS,
        "-DBMOPT_RUNNER_SANITIZE=ON",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1",
        "-DCMAKE_C_FLAGS_DEBUG=-O1",
    )


@pytest.fixture(scope="session")
def native_engine(native: Build) -> Build:
    """The same, where ONNX Runtime's plugin could be built."""
    if not native.has_onnxruntime:
        pytest.skip("ONNX Runtime's C header not found: libonnxruntime-dev, or set ORT_ROOT")
    return native


@pytest.fixture(scope="session")
def libfuzzer() -> Build:
    """The fuzz targets, driven by libFuzzer."""
    _need("cmake", "make")
    found = [one for one in ("clang++", "clang++-14", "clang++-19") if shutil.which(one)]
    if not found:
        pytest.skip("clang++ not installed; the seeds are mutated by our own driver only")
    return build(
        BUILD / "clang",
        FUZZ_TARGETS,
        f"-DCMAKE_CXX_COMPILER={found[0]}",
        "-DBMOPT_RUNNER_SANITIZE=ON",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1",
    )


@pytest.fixture(scope="session")
def cross() -> Build:
    """Everything cross-compiled for AArch64."""
    _need("cmake", "make", CROSS_CXX, QEMU)
    return build(
        BUILD / "aarch64",
        ("runner_check_bundle", "runner_abi_test", *UNIT_TARGETS),
        f"-DCMAKE_TOOLCHAIN_FILE={SOURCE / 'toolchains/aarch64-linux-gnu.cmake'}",
    )


@pytest.fixture(scope="session")
def qemu(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command that runs a program for AArch64."""
    _need(QEMU)
    return emulator(tmp_path_factory.mktemp("sysroot"))


@pytest.fixture(scope="session")
def ort_library() -> Path:
    """ONNX Runtime's library as its wheel has it."""
    import onnxruntime

    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this wheel of onnxruntime has no library of its own")
    return found[0]
