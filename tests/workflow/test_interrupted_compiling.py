"""Compilations that end early leave nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from bmopt.core.files import require_replaceable
from bmopt.errors import OutputError
from bmopt.workflow import artifact, compiling, lowering, preparing, reporting
from bmopt.workflow.artifact import load_artifact
from tests.workflow.demo_runs import compile_demo, content, images


def interrupt(*_: Any, **__: Any) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["Evaluator", "measure_latency"])
def test_ctrl_c_while_measuring_leaves_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(reporting, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        compile_demo(tmp_path / "out", target="ort-int8", duration_s=0.1)
    with load_artifact(tmp_path / "out", any_host=True) as opened:
        assert opened.report is None
        assert opened.run({"image": images(1)})["logits"].shape == (1, 10)


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (preparing, "optimize_file"),
        (lowering, "calibrated"),
        (compiling, "save_model"),
        (artifact, "write_golden"),
        (artifact, "write_manifest"),
    ],
)
def test_ctrl_c_before_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str
) -> None:
    monkeypatch.setattr(owner, step, interrupt)
    folder = tmp_path / "outputs"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        compile_demo(folder / "out")
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_the_earlier_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "outputs" / "out"
    compile_demo(out)
    before = content(out)

    def full(*_: Any, **__: Any) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write_golden", full)
    with pytest.raises(OutputError, match="No space left on device"):
        compile_demo(out, placement="all")
    assert content(out) == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    require_replaceable(out)
