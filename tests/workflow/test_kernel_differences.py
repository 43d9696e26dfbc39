"""The report of what the kernels of a library compute, one by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

import bmopt
from bmopt.backends.tvm.separating import Separated, separate
from bmopt.cli.summary import print_summary
from bmopt.workflow import kernel_differences
from bmopt.workflow.compiling import CompileResult, compile_model
from bmopt.workflow.recipe import Recipe
from tests.backends.tvm.installed import needs_tvm

pytestmark = needs_tvm

_DEMO = Path(bmopt.__file__).parent / "demo_data"


def _compiled(out: Path, target: str) -> CompileResult:
    recipe = Recipe(
        target=target,
        duration_s=0.0,
        placement="all",
        preset="fast",
        calib=str(_DEMO / "digits_calib.npz"),
        metric="none",
    )
    return compile_model(_DEMO / "digits.onnx", recipe, out)


def test_integers_are_compared_kernel_by_kernel(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _compiled(tmp_path / "digits", "tvm-int8")
    found: dict[str, Any] = result.report["kernel_differences"]
    assert found["elements"] > 10_000
    assert found["most"] <= 1
    assert found["off"] <= found["elements"] * 1e-4
    print_summary(result.report)
    said = f"{found['off']:,} of {found['elements']:,} elements are not the Q/DQ graph's"
    assert said in capsys.readouterr().out


def test_what_differs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(model: ir.Model) -> Separated:
        found = separate(model)
        first, *rest = found.cuts
        wrong = dataclasses.replace(first, zero=first.zero - 3)
        return dataclasses.replace(found, cuts=(wrong, *rest))

    monkeypatch.setattr(kernel_differences, "separate", shifted)
    found = _compiled(tmp_path / "digits", "tvm-int8").report["kernel_differences"]
    assert found["off"] > 100
    assert found["most"] > 1
    assert found["tensor"]


def test_libraries_for_other_processors_are_not_compared(tmp_path: Path) -> None:
    result = _compiled(tmp_path / "digits", "tvm-int8:riscv64-rvv")
    assert result.report.get("kernel_differences") is None
