"""Models that TVM compiled, in bundles: here, and cross-compiled for an AArch64 box under qemu."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bundle import native
from bmopt.errors import BundleError
from bmopt.workflow.packaging import PackageOptions
from tests.device.conftest import ARM, PREFIX, X86, Device, need, packaged
from tests.runner.test_tvm_plugin import package as module_folder
from tests.runner.tvm_models import HAS_TVM, WHY_NOT
from tests.workflow.demo_runs import compile_demo

pytestmark = pytest.mark.skipif(not HAS_TVM, reason=WHY_NOT)

ROOT = Path(__file__).parents[2]
EIGHT_MB = 8_000_000
CROSS = "aarch64-linux-gnu-g++"


@dataclasses.dataclass(frozen=True)
class Box:
    """A device, the targets that are compiled for it, and its C++ compiler."""

    device: Device
    targets: tuple[str, ...]
    compiler: str


@pytest.fixture(scope="session")
def boxes(request: pytest.FixtureRequest) -> Callable[[str], Box]:
    def found(name: str) -> Box:
        device: Device = request.getfixturevalue(name)
        if name == "host":
            return Box(device, ("tvm-fp32:x86-avx2", "tvm-int8:x86-avx2"), "c++")
        need(CROSS)
        return Box(device, ("tvm-fp32:cortex-a72", "tvm-int8:cortex-a76"), CROSS)

    return found


@pytest.fixture(scope="session", params=["host", "board"])
def box(request: pytest.FixtureRequest, boxes: Callable[[str], Box]) -> Box:
    return boxes(request.param)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Box], Path]:
    """Return what packs the demo's model, compiled for a box, into a folder: once for each."""
    done: dict[str, Path] = {}

    def bundle(box: Box) -> Path:
        if box.device.platform not in done:
            folder = tmp_path_factory.mktemp("tvm")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("BMOPT_CACHE_DIR", str(folder / "cache"))
                patch.setattr(native, "installed_folder", lambda: PREFIX)
                artifacts = [
                    compile_demo(folder / target.replace(":", "-"), target=target).artifact
                    for target in box.targets
                ]
                options = PackageOptions(box.device.platform)
                done[box.device.platform] = packaged(artifacts, options, folder / "bundle")
        return done[box.device.platform]

    return bundle


@pytest.fixture
def bundle(box: Box, bundles: Callable[[Box], Path]) -> Path:
    return bundles(box)


def models(bundle: Path) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = json.loads((bundle / "manifest.json").read_text())["models"]
    return found


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_answers_as_when_it_was_packed(box: Box, bundle: Path, precision: str) -> None:
    name = next(m["name"] for m in models(bundle) if m["name"].startswith(f"tvm-{precision}"))
    done = box.device.run(bundle / "bin/bmopt-run", bundle, "--verify", "--model", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert name in done.stdout


def test_batches_of_other_sizes(box: Box, bundle: Path, tmp_path: Path) -> None:
    golden = models(bundle)[0]["golden"][0]
    image = np.load(bundle / golden["inputs"][0]["file"])[:1]
    np.save(tmp_path / "x.npy", np.repeat(image, 3, axis=0))
    words = ("--input", tmp_path / "x.npy", "--output", tmp_path / "out", "--threads", 1)
    done = box.device.run(bundle / "bin/bmopt-run", bundle, *words)
    assert (done.returncode, done.stderr) == (0, "")
    (answer,) = (tmp_path / "out").rglob("*.npy")
    (wanted,) = golden["outputs"]
    rows = np.load(answer)
    assert rows.shape[0] == 3
    expected = np.load(bundle / wanted["file"])[:1]
    assert np.abs(rows - expected).max() <= wanted["tolerance"]


def test_what_is_on_the_device_besides_the_models(bundle: Path) -> None:
    files = [path for path in bundle.rglob("*") if path.is_file()]
    beside = sum(path.stat().st_size for path in files if bundle / "models" not in path.parents)
    assert beside <= EIGHT_MB
    names = {path.relative_to(bundle).as_posix() for path in files}
    assert {"lib/libtvm_runtime.so", "lib/libtvm_ffi.so", "lib/libbm_engine_tvm.so"} <= names
    assert {"LICENSES/apache-tvm/NOTICE", "LICENSES/apache-tvm-ffi/LICENSE"} <= names
    assert "lib/libtvm_runtime_extra.so" not in names


def test_the_manifest_says_what_it_needs(box: Box, bundle: Path) -> None:
    for model in models(bundle):
        runtime = model["needs"]["runtime"]
        assert (model["engine"], runtime["name"]) == ("tvm", "tvm")
        assert runtime["made_with"] == model["versions"]["apache-tvm"]
        assert model["versions"]["apache-tvm-ffi"].startswith(model["session"]["tvm_ffi"])
    cpus = [model["needs"]["cpu"] for model in models(bundle)]
    wanted = {X86: [["avx2"], ["avx2"]], ARM: [[], ["asimddp"]]}
    assert cpus == wanted[box.device.platform]


def test_a_processor_without_dot_products_takes_the_other_model(
    boxes: Callable[[str], Box], bundles: Callable[[Box], Path]
) -> None:
    box = boxes("board")
    bundle = bundles(box)
    before = tuple("cortex-a72" if word == "max" else word for word in box.device.before)
    old = dataclasses.replace(box.device, before=before)
    name = models(bundle)[1]["name"]
    done = old.run(bundle / "bin/bmopt-run", bundle, "--verify", "--model", name)
    assert done.returncode == 6
    assert "asimddp" in done.stderr
    assert old.run(bundle / "bin/bmopt-run", bundle, "--verify").returncode == 0


def test_the_program_of_the_docs_needs_nothing_but_the_runtime(
    box: Box, bundle: Path, tmp_path: Path
) -> None:
    page = (ROOT / "docs/tvm.md").read_text(encoding="utf-8")
    source = tmp_path / "host.cpp"
    source.write_text(page.split("```cpp\n")[-1].split("```")[0])
    program = tmp_path / "host"
    libraries = ["-L", bundle / "lib", "-Wl,--no-as-needed", "-ltvm_runtime", "-ltvm_ffi"]
    command = [box.compiler, "-std=c++17", "-O1", "-I", module_folder("tvm_ffi") / "include"]
    command += [source, "-o", program, *libraries, f"-Wl,-rpath,{bundle / 'lib'}"]
    subprocess.run(list(map(str, command)), check=True)
    model = models(bundle)[0]
    golden = model["golden"][0]
    image = np.load(bundle / golden["inputs"][0]["file"])
    image.tofile(tmp_path / "x.raw")
    done = box.device.run(program, bundle / model["file"], tmp_path / "x.raw", *image.shape)
    assert done.returncode == 0, done.stderr
    wanted = np.load(bundle / golden["outputs"][0]["file"])
    found = np.reshape([float(word) for word in done.stdout.split()], wanted.shape)
    tolerance = golden["outputs"][0]["tolerance"] + 1e-4 * np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= tolerance


@pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64")
def test_a_library_for_another_processor_is_refused(
    boxes: Callable[[str], Box], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boxes("host")
    need(CROSS)
    monkeypatch.setattr(native, "installed_folder", lambda: PREFIX)
    artifact = compile_demo(tmp_path / "artifact", target="tvm-fp32:cortex-a72").artifact
    wanted = r"is for aarch64-linux, and the bundle is for x86_64-linux; compile .*tvm-fp32:x86"
    with pytest.raises(BundleError, match=wanted):
        packaged([artifact], PackageOptions("x86_64-linux"), tmp_path / "bundle")
