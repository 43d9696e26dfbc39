from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.runner.bundle_folder import write_bundle
from tests.runner.conftest import FUZZ_TARGETS, Build

OWN_SECONDS = 2
LIBFUZZER_SECONDS = int(os.environ.get("BMOPT_FUZZ_SECONDS", "2"))


def _fuzz(native: Build, name: str, seeds: list[Path]) -> None:
    done = native.run(name, OWN_SECONDS, *seeds)
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[0]) > 100


def test_manifests(native: Build, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", platform="x86_64-linux")
    _fuzz(native, "runner_fuzz_manifest", [bundle / "manifest.json"])


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_arrays(native: Build, tmp_path: Path, version: tuple[int, int]) -> None:
    seeds = []
    for index, dtype in enumerate(("float32", "int64", "bool", "float16")):
        seeds.append(tmp_path / f"{index}.npy")
        with seeds[-1].open("wb") as stream:
            np.lib.format.write_array(stream, np.ones((index, 2), dtype), version=version)
    _fuzz(native, "runner_fuzz_npy", seeds)


@pytest.mark.parametrize("name", FUZZ_TARGETS)
def test_libfuzzer_finds_nothing(libfuzzer: Build, tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path / "bundle", platform="x86_64-linux")
    seed = next(bundle.rglob("manifest.json" if name.endswith("manifest") else "*.npy"))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / seed.name).write_bytes(seed.read_bytes())
    limits = (
        f"-max_total_time={LIBFUZZER_SECONDS}",
        "-timeout=10",
        f"-artifact_prefix={tmp_path}/",
    )
    done = libfuzzer.run(name, *limits, corpus)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "DONE" in done.stderr
