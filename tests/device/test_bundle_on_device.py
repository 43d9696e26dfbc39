"""What docs/deploy.md tells a reader to do, done: here, and on an AArch64 box under qemu."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.device.conftest import Device, Pack
from tests.workflow.demo_runs import images


@pytest.fixture(params=["host", "board"])
def device(request: pytest.FixtureRequest) -> Device:
    found: Device = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bundle(device: Device, pack: Pack, tmp_path: Path) -> Path:
    return pack(device, tmp_path / "bundle")


def test_a_bundle_verifies_itself(device: Device, bundle: Path) -> None:
    done = device.run(bundle / "bin/bmopt-run", bundle, "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    with (bundle / "models").joinpath("extra").open("w") as stream:
        stream.write("not listed")
    done = device.run(bundle / "bin/bmopt-run", bundle, "--verify")
    assert done.returncode == 5
    assert "extra" in done.stderr


def test_an_answer_is_that_of_the_artifact(device: Device, bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    golden = manifest["models"][0]["golden"][0]
    (wanted,) = golden["outputs"]
    source = bundle / golden["inputs"][0]["file"]
    done = device.run(
        bundle / "bin/bmopt-run", bundle, "--input", source, "--output", tmp_path / "answers"
    )
    assert done.returncode == 0, done.stderr
    (answer,) = (tmp_path / "answers").rglob("*.npy")
    difference = np.abs(np.load(answer) - np.load(bundle / wanted["file"])).max()
    assert difference <= wanted["tolerance"]


def test_it_is_measured_on_the_device(device: Device, bundle: Path) -> None:
    done = device.run(bundle / "bin/bmopt-run", bundle, "--bench", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert min(document["measurement"]["blocks"][0]["latency_ns"]) > 0


def test_a_program_in_c_runs_it(device: Device, bundle: Path, tmp_path: Path) -> None:
    program = tmp_path / "infer"
    command = [device.compiler, "-O2", "-Wall", "-Werror", str(bundle / "examples/infer.c")]
    command += ["-I", str(bundle / "include"), "-L", str(bundle / "lib"), "-lbmopt_runner"]
    command += [f"-Wl,-rpath,{bundle / 'lib'}", "-o", str(program)]
    subprocess.run(command, check=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    golden = manifest["models"][0]["golden"][0]
    images(1).tofile(tmp_path / "x.raw")
    wanted = np.load(bundle / golden["outputs"][0]["file"])
    np.load(bundle / golden["inputs"][0]["file"])[:1].tofile(tmp_path / "x.raw")
    done = device.run(program, bundle, tmp_path / "x.raw")
    assert done.returncode == 0, done.stderr
    name, *numbers = done.stdout.split()
    assert name == "logits:"
    tolerance = golden["outputs"][0]["tolerance"] + 1e-4 * np.abs(wanted).max()
    assert np.allclose([float(n) for n in numbers], wanted[0], atol=tolerance, rtol=0)


def test_a_bundle_for_another_platform_is_refused(
    host: Device, board: Device, pack: Pack, tmp_path: Path
) -> None:
    other = pack(board, tmp_path / "other")
    shutil.copytree(host_runner(tmp_path, host, pack), tmp_path / "mixed")
    done = host.run(tmp_path / "mixed/bin/bmopt-run", other, "--verify")
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1
    assert "aarch64" in done.stderr


def host_runner(tmp_path: Path, host: Device, pack: Pack) -> Path:
    return pack(host, tmp_path / "own")
