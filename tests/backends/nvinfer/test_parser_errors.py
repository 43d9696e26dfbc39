from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from bmopt.backends.nvinfer import parser_errors
from bmopt.backends.nvinfer.build_log import (
    BuildLog,
    cause_in,
    fails_inside,
    plain,
    read_log,
    warnings_in,
)
from bmopt.backends.nvinfer.parser_errors import Refusal


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("false", "this op is not supported"),
        ("", "this op is not supported"),
        (
            (
                "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not "
                "supported. Please set kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable "
                "asymmetric quantization if it is on DLA."
            ),
            "Non-zero zero point is not supported",
        ),
        (
            (
                "Assertion failed: (scaleAllPositive || allowNegativeScale): "
                "Scale coefficients must all be positive"
            ),
            "Scale coefficients must all be positive",
        ),
        (
            'creator && "Plugin not found, are the plugin name, version, and namespace correct?"',
            "it is no op of ONNX, and no plugin has that name",
        ),
        (
            '(nbInputs >= 3 && nbInputs <= 5) && "Slice operator requires 3 - 5 inputs."',
            "Slice operator requires 3 - 5 inputs",
        ),
        (
            (
                "Invalid Node - b\nITensor::getDimensions: Error Code 4: API Usage Error (b: SUM "
                "must have same input types. But they are of types Float and Half. In "
                "validateTypes at /_src/a/node.cpp:40)\n"
                "[c.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (x)"
            ),
            "b: SUM must have same input types. But they are of types Float and Half",
        ),
    ],
)
def test_tells_a_reason_without_source_code(description: str, reason: str) -> None:
    assert parser_errors.reason_of(description) == reason


def _parser(*errors: tuple[str, str, str]) -> Any:
    def error(index: int) -> Any:
        node, op, text = errors[index]
        return types.SimpleNamespace(
            node_name=lambda: node, node_operator=lambda: op, desc=lambda: text
        )

    return types.SimpleNamespace(num_errors=len(errors), get_error=error)


def test_names_all_that_is_refused() -> None:
    found = parser_errors.read_refusals(_parser(("d", "Det", "false"), ("u", "Unique", "false")))
    assert found == [
        Refusal("d", "Det", "this op is not supported"),
        Refusal("u", "Unique", "this op is not supported"),
    ]
    assert parser_errors.message("TensorRT", found, [[0, 1], [3]], 5) == (
        "TensorRT refuses node 'd' (Det): this op is not supported; it also refuses 'u' (Unique); "
        "it takes 3 of the graph's 5 nodes, in 2 parts"
    )


def test_counts_what_it_does_not_name() -> None:
    found = [Refusal(f"n{index}", "Det", "no") for index in range(6)]
    text = parser_errors.message("TensorRT", found, [], 6)
    assert text == (
        "TensorRT refuses node 'n0' (Det): no; "
        "it also refuses 'n1' (Det), 'n2' (Det), 'n3' (Det) and 2 more"
    )


def test_a_refusal_of_the_whole_model() -> None:
    assert parser_errors.message("TensorRT", [Refusal("", "", "no sense")], [], 1) == (
        "TensorRT refuses the model: no sense"
    )
    assert "does not say why" in parser_errors.message("TensorRT", [], [], 1)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            (
                "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check] "
                "Cannot compile operation 'c' for Turing (SM75): FP32 GEMM is not supported. "
                "In compileGraph at /_src/optimizer/codeGenerator.cpp:2012)"
            ),
            "Cannot compile operation 'c' for Turing (SM75): FP32 GEMM is not supported",
        ),
        ("Error Code 10: Internal Error (Could not find any implementation for node x.)",
         "Could not find any implementation for node x"),
        ("no such\nform", "no such form"),
    ],
)  # fmt: skip
def test_tells_a_cause_without_codes_and_places(said: str, cause: str) -> None:
    assert plain(said) == cause


@pytest.mark.parametrize(
    ("cause", "inside"),
    [
        ("MyelinCheckException: bb.cpp:43: CHECK(append_to->parent() == this) failed", True),
        ("Assertion tScope.getType() != ScopeType::kUNDEFINED failed", True),
        ("Could not find any implementation for node x", True),
        ("Profile kOPT values are not self-consistent. Dimensions with name N", False),
        ("Cannot compile operation 'c' for Turing (SM75): FP32 GEMM is not supported", False),
        ("", False),
    ],
)
def test_a_failure_inside_the_sdk_is_told_apart(cause: str, inside: bool) -> None:
    assert fails_inside(cause) is inside


def test_keeps_what_matters_of_a_log_and_survives_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as file:
        log = BuildLog(file)
        for severity, text in (
            ("VERBOSE", "a tactic was timed"),
            ("WARNING", "(foreignNode) slow\npath"),
            ("VERBOSE", "Layers:\nName: k, LayerType: kgen"),
            ("WARNING", "(foreignNode) slow\npath"),
            ("ERROR", "[a.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no driver)"),
            ("ERROR", "Error Code 2: Internal Error (the cause)"),
        ):
            log.add(severity, text)
        file.write('["ERROR", "cut')
    entries = read_log(path)
    assert [severity for severity, _ in entries] == [
        "WARNING", "VERBOSE", "WARNING", "ERROR", "ERROR",
    ]  # fmt: skip
    assert warnings_in(entries) == ("slow path",)
    assert cause_in(entries) == "the cause"
    assert cause_in(entries[:4]) == "no driver"
    assert cause_in([]) == ""
    assert read_log(tmp_path / "none") == []
