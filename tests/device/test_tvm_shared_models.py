"""The shared models, cross-compiled by TVM and run on an AArch64 box under qemu."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from benchmarks.shared_models import SharedModel, shared_models
from bmopt.bundle import native
from bmopt.workflow.compiling import compile_model
from bmopt.workflow.packaging import PackageOptions
from tests.device.conftest import ARM, PREFIX, Device, need, packaged
from tests.runner.tvm_models import HAS_TVM, WHY_NOT
from tests.shared_data import needs_shared, shared_dir
from tests.workflow.demo_runs import QUICK

pytestmark = [needs_shared, pytest.mark.skipif(not HAS_TVM, reason=WHY_NOT)]

SMALL = ("resnet8_mlperftiny_cifar10", "dscnn_kws")
"""The others take half a minute each: BMOPT_ALL_MODELS=1 asks for them."""

FOUND = [] if shared_dir() is None else shared_models(shared_dir() or Path())
MODELS = [m for m in FOUND if os.environ.get("BMOPT_ALL_MODELS") or m.name in SMALL]
TARGETS = ("tvm-fp32:cortex-a72", "tvm-int8:cortex-a76")
RECIPE = dataclasses.replace(QUICK, pipeline="simplify", calib_limit=16, val_limit=16)


def compiled(model: SharedModel, target: str, out: Path) -> Path:
    recipe = dataclasses.replace(RECIPE, target=target, calib=model.calib, val=model.val)
    return compile_model(model.path, recipe, out).artifact


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_it_answers_on_the_box_as_its_graph_does_here(
    board: Device, model: SharedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("aarch64-linux-gnu-g++")
    monkeypatch.setattr(native, "installed_folder", lambda: PREFIX)
    artifacts = [compiled(model, target, tmp_path / target.split(":")[0]) for target in TARGETS]
    bundle = packaged(artifacts, PackageOptions(ARM), tmp_path / "bundle")
    for target in TARGETS:
        words = ("--verify", "--model", target.replace(":", "-"))
        done = board.run(bundle / "bin/bmopt-run", bundle, *words)
        assert (done.returncode, done.stderr) == (0, "")
