"""A bundle in a root folder that has nothing but the C library and C++'s."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.device.conftest import Device, Pack, need
from tests.runner.tvm_models import HAS_TVM, WHY_NOT


def libraries_of(file: Path) -> set[Path]:
    """Return the shared libraries that a file is linked with, the loader among them."""
    listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=True).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", listed)}


@pytest.mark.parametrize(
    "target",
    [
        "ort-int8",
        pytest.param("tvm-fp32:x86-avx2", marks=pytest.mark.skipif(not HAS_TVM, reason=WHY_NOT)),
    ],
)
def test_it_runs_where_nothing_is_installed(
    host: Device, pack: Pack, tmp_path: Path, target: str
) -> None:
    need("chroot", "ldd")
    if os.geteuid() != 0:
        pytest.skip("chroot needs to be root")
    root = tmp_path / "root"
    bundle = pack(host, root / "bundle", targets=[target])
    parts = [bundle / "bin/bmopt-run", *(bundle / "lib").iterdir()]
    for library in {one for part in parts for one in libraries_of(part)}:
        if tmp_path not in library.parents:
            place = root / library.relative_to("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)
    assert not list(root.rglob("*python*"))
    done = subprocess.run(
        [shutil.which("chroot") or "", root, "/bundle/bin/bmopt-run", "/bundle", "--verify"],
        capture_output=True,
        text=True,
        env={},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "golden" in done.stdout
