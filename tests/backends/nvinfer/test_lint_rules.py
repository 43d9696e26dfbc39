"""The rule matrix: what the linter says, and whether the real parser and kernels agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from bmopt.backends.nvinfer.lint import RULES, lint
from bmopt.core.target import Target
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import PRODUCT_OPS
from tests.backends.nvinfer.rule_cases import CASES

_VERDICTS = Path(__file__).with_name("rtx_verdicts.py")
_LEVELS = {rule.id: rule.level for rule in RULES}


def target_of(case: str) -> Target:
    device = CASES[case].device
    precision = "fp8" if case.startswith("float8") and device != "sm86" else "int8"
    return Target("rtx", precision, device)


@pytest.mark.parametrize("case", CASES)
def test_linter_names_the_rules_that_a_case_breaks(case: str) -> None:
    findings = lint(CASES[case].model(), target_of(case))
    assert sorted(finding.rule.id for finding in findings) == sorted(CASES[case].rules)
    for finding in findings:
        assert finding.fix
        assert "\n" not in finding.message + finding.fix


def test_every_rule_has_a_case() -> None:
    broken = {rule for case in CASES.values() for rule in case.rules}
    assert broken >= set(_LEVELS) - {"TRT109", "TRT112"}, "those have tests of their own"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what TensorRT-RTX makes of every case; one whose build crashes is not built."""
    pytest.importorskip("tensorrt_rtx")
    found: dict[str, dict[str, Any]] = {}
    for device in sorted({case.device for case in CASES.values()}):
        folder = tmp_path_factory.mktemp(device)
        for name, case in CASES.items():
            if case.device == device:
                ir.save(case.model(), folder / f"{name}.onnx")
        while any(folder.iterdir()):
            found |= _built(folder, device)
    return found


def _built(folder: Path, device: str) -> dict[str, dict[str, Any]]:
    """Build the models of ``folder`` until one crashes, and remove those that are done."""
    command = [sys.executable, str(_VERDICTS), str(folder), device.upper()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = {v.pop("case"): v for v in map(json.loads, done.stdout.splitlines())}
    for name in found:
        (folder / f"{name}.onnx").unlink()
    left = sorted(folder.iterdir())
    if left:
        assert done.returncode < 0, done.stderr
        found[left[0].stem] = {"errors": ["crash"], "built": False, "kernels": []}
        left[0].unlink()
    return found


@pytest.mark.parametrize("case", CASES)
def test_engine_agrees(case: str, verdicts: dict[str, dict[str, Any]]) -> None:
    """An error: no engine. A warning: a quantised product in float. Else: all in 8 bits."""
    levels = {_LEVELS[rule] for rule in CASES[case].rules}
    verdict = verdicts[case]
    assert verdict["built"] == ("error" not in levels), verdict["errors"]
    if not verdict["built"]:
        return
    in_float = quantized_products(CASES[case].model()) - products_in_8_bits(verdict["kernels"])
    assert bool(in_float) == ("warning" in levels and not CASES[case].renumbers), in_float


def quantized_products(model: ir.Model) -> set[str]:
    """Return the products with an 8-bit type somewhere before one of their operands."""
    return {
        str(node.name)
        for node in nodes_in(model.graph)
        if node.op_type in PRODUCT_OPS and any(_reaches_8_bits(v) for v in node.inputs[:2])
    }


def _reaches_8_bits(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    while node is not None and node.op_type != "DequantizeLinear":
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
    if node is None:
        return False
    maker = node.inputs[0].producer() if node.inputs[0] else None
    stored = 0 if maker is None else maker.attributes.get_int("output_dtype", 0)
    return stored not in (ir.DataType.INT4, ir.DataType.FLOAT4E2M1)


def products_in_8_bits(kernels: list[dict[str, Any]]) -> set[str]:
    """Return the nodes of the product kernels that read 8-bit values only."""
    return {
        node.split(" | ")[0]
        for kernel in kernels
        if kernel["kind"] in ("correlation", "gemm") and set(kernel["inputs"]) <= {"Int8", "FP8"}
        for node in kernel["nodes"]
    }
