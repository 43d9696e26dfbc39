"""Pictures through a graph that prepares them itself, and through the plain one: the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.device.conftest import Device, Pack
from tests.runner.native_probe import stb_folder
from tests.workflow.demo_runs import DEMO

pytestmark = pytest.mark.skipif(stb_folder() is None, reason="needs libstb-dev")


@pytest.fixture(params=["host", "board"])
def device(request: pytest.FixtureRequest) -> Device:
    found: Device = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "digit.png"
    Image.fromarray(np.load(DEMO.val)["images"][0]).save(path)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"digit-{digit}\n" for digit in range(10)))
    return path


def answer(device: Device, bundle: Path, picture: Path, out: Path) -> tuple[Any, Any]:
    """Return the arrays written for a picture, and the document."""
    program = bundle / "bin/bmopt-run"
    done = device.run(program, bundle, "--input", picture, "--top", 2, "--output", out, "--json")
    assert done.returncode == 0, done.stderr
    arrays = [np.load(path) for path in sorted(out.glob("*.npy"))]
    return arrays, json.loads(done.stdout)["inferences"][0]["outputs"]


def test_the_same_answer_and_the_same_labels(
    device: Device, pack: Pack, picture: Path, labels: Path, tmp_path: Path
) -> None:
    plain = pack(device, tmp_path / "plain", labels=labels)
    whole = pack(device, tmp_path / "whole", labels=labels, fold_preprocess=True)
    short = pack(device, tmp_path / "short", labels=labels, fold_preprocess=True, top_k=3)
    for bundle in (whole, short):
        checked = device.run(bundle / "bin/bmopt-run", bundle, "--verify")
        assert (checked.returncode, checked.stderr) == (0, "")
    (logits,), (shown,) = answer(device, plain, picture, tmp_path / "a")
    (same,), (again,) = answer(device, whole, picture, tmp_path / "b")
    assert np.array_equal(same, logits)
    assert again["top"] == shown["top"]
    (scores, classes), (ranked, indices) = answer(device, short, picture, tmp_path / "c")
    assert np.array_equal(classes[0], np.argsort(-logits[0], kind="stable")[:3])
    assert np.array_equal(scores[0], logits[0][classes[0]])
    assert ranked["top"] == shown["top"]
    assert [entry["label"] for entry in ranked["top"]] == [f"digit-{i}" for i in classes[0][:2]]
    assert indices["top"] == []
