from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest

from bmopt.bundle.formats.serving import write_format
from bmopt.bundle.manifest import Manifest
from bmopt.errors import BundleError
from tests.bundle.formats.packed_models import IMAGES, with_models, write_packed


def runnable(bundle: Path) -> Path:
    for name in ("bin/bmopt-run", "smoke_test", "lib/libonnxruntime.so.1"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_bytes(b"program")
        (bundle / name).chmod(0o755)
    return bundle


def instructions(context: Path) -> list[tuple[str, str]]:
    text = (context / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_context_has_all_that_the_image_copies(tmp_path: Path) -> None:
    bundle = runnable(write_packed(tmp_path / "bundle", IMAGES))
    write_format("oci", bundle, tmp_path / "context")
    context = tmp_path / "context"
    steps = instructions(context)
    (copied,) = [shlex.split(rest) for name, rest in steps if name == "COPY"]
    *sources, place = copied
    assert all((context / source).exists() for source in sources)
    kept = [line[1:] for line in (context / ".dockerignore").read_text().split() if line[0] == "!"]
    assert kept == sources
    commands = [json.loads(rest[rest.index("[") :]) for name, rest in steps if "[" in rest]
    programs = [argv[0] for argv in commands if argv[0].startswith("/")]
    assert len(programs) == 2
    for program in programs:
        path = context / sources[0] / Path(program).relative_to(place)
        assert path.stat().st_mode & 0o111 == 0o111
    copies = {p.relative_to(context / "bundle"): p.read_bytes() for p in files(context / "bundle")}
    assert copies == {p.relative_to(bundle): p.read_bytes() for p in files(bundle)}


def test_image_runs_as_nobody_and_has_no_python(tmp_path: Path) -> None:
    bundle = runnable(write_packed(tmp_path / "bundle", IMAGES))
    write_format("oci", bundle, tmp_path / "context")
    steps = dict(instructions(tmp_path / "context"))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", steps["USER"])
    assert steps["ARG"] == "BASE=debian:stable-slim"
    assert "RUN" not in steps
    assert "@" not in (tmp_path / "context/Dockerfile").read_text()
    assert "smoke_test" in steps["HEALTHCHECK"]


@pytest.mark.parametrize(
    ("platform", "docker"), [("x86_64-linux", "amd64"), ("aarch64-linux", "arm64")]
)
def test_image_is_for_the_bundles_platform(tmp_path: Path, platform: str, docker: str) -> None:
    def change(manifest: Manifest) -> Manifest:
        return dataclasses.replace(manifest, platform=platform)

    bundle = runnable(write_packed(tmp_path / "bundle", IMAGES, change=change))
    write_format("oci", bundle, tmp_path / "context")
    assert dict(instructions(tmp_path / "context"))["FROM"].startswith(
        f"--platform=linux/{docker}"
    )


def test_an_engine_for_a_gpu_needs_a_base_with_its_runtime(tmp_path: Path) -> None:
    change = with_models(engine="tensorrt", target="trt-int8")
    bundle = runnable(write_packed(tmp_path / "bundle", IMAGES, change=change))
    write_format("oci", bundle, tmp_path / "context")
    assert dict(instructions(tmp_path / "context"))["ARG"] == "BASE"


def test_tvms_runtime_has_to_be_in_the_bundle_too(tmp_path: Path) -> None:
    change = with_models(engine="tvm", target="tvm-int8:cortex-a72")
    bundle = runnable(write_packed(tmp_path / "bundle", IMAGES, change=change))
    with pytest.raises(BundleError, match="--slim"):
        write_format("oci", bundle, tmp_path / "context")
    (bundle / "lib/libtvm_runtime.so").write_bytes(b"library")
    write_format("oci", bundle, tmp_path / "context")
    assert dict(instructions(tmp_path / "context"))["ARG"] == "BASE=debian:stable-slim"


def test_bundles_that_cannot_run_are_refused(tmp_path: Path) -> None:
    bundle = write_packed(tmp_path / "bundle", IMAGES)
    with pytest.raises(BundleError, match="native runner"):
        write_format("oci", bundle, tmp_path / "context")
    (runnable(bundle) / "lib/libonnxruntime.so.1").unlink()
    with pytest.raises(BundleError, match="--slim"):
        write_format("oci", bundle, tmp_path / "context")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
