"""Documents with the keys that TensorRT 10 and 11 document for their inspectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bmopt.backends.nvinfer.inspector import parse_inspection
from bmopt.core.engine import Kernel

_CASK: dict[str, Any] = {
    "Name": "w + w_QuantizeLinear + conv + relu",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "x", "Format/Datatype": "Thirty-two wide channel vectorized Int8 format"}],
    "Outputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
    "ParameterType": "Convolution",
    "Weights": {"Type": "Int8", "Count": 864},
    "Bias": {"Type": "Float", "Count": 32},
    "TacticName": "sm80_xmma_fprop_implicit_gemm_i8f16_i8i32_f32",
    "Metadata": "[ONNX Layer: conv]\u001e[ONNX Layer: relu]",
}
_GEMM: dict[str, Any] = {
    "Name": "gemm_myl0_1",
    "LayerType": "gemm",
    "Inputs": [{"Name": "x", "Datatype": "Int8", "Format": "Row major linear format"}],
    "Constants": [{"Name": "w", "Datatype": "Int8", "Format": "Row major linear format"}],
    "Outputs": [{"Name": "y", "Datatype": "Half", "Format": "Row major linear format"}],
    "TacticName": "a_tactic",
    "Metadata": "[ONNX Layer: fc]",
}


def test_reads_what_tensorrt_10_writes() -> None:
    text = json.dumps({"Layers": [_CASK], "Bindings": ["x", "y"]})
    assert parse_inspection(text) == (
        Kernel(
            name=_CASK["Name"],
            kind="CaskConvolution",
            inputs=("int8",),
            constants=("int8", "float"),
            outputs=("float16",),
            nodes=("conv", "relu"),
            tactic=_CASK["TacticName"],
        ),
    )


def test_reads_what_tensorrt_11_writes() -> None:
    text = json.dumps({"Layers": [_GEMM], "I/O Tensors": [{"Name": "x", "DataType": "Float"}]})
    (kernel,) = parse_inspection(text)
    assert kernel == Kernel("gemm_myl0_1", "gemm", ("int8",), ("int8",), ("float16",), ("fc",),
                            "a_tactic")  # fmt: skip


def test_takes_nodes_from_the_name_where_there_is_no_metadata() -> None:
    layer = {key: value for key, value in _CASK.items() if key != "Metadata"}
    (kernel,) = parse_inspection(json.dumps({"Layers": [layer]}))
    assert kernel.nodes == ("w", "w_QuantizeLinear", "conv", "relu")


def test_a_bias_that_is_not_there_is_no_constant() -> None:
    layer = {**_CASK, "Bias": {"Type": "Float", "Count": 0}}
    (kernel,) = parse_inspection(json.dumps({"Layers": [layer]}))
    assert kernel.constants == ("int8",)


def test_types_of_dynamic_tensors_may_be_untold() -> None:
    layer = {**_CASK, "Inputs": [{"Name": "x", "Format/Datatype": "N/A due to dynamic shapes"}]}
    (kernel,) = parse_inspection(json.dumps({"Layers": [layer]}))
    assert kernel.inputs == ("",)


def test_an_engine_that_tells_names_only() -> None:
    (kernel,) = parse_inspection(json.dumps({"Layers": ["conv + relu"]}))
    assert kernel == Kernel("conv + relu", "", (), (), (), ("conv", "relu"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"Layers": null}', '{"Layers": 3}'])
def test_text_of_another_kind_has_no_kernels(text: str) -> None:
    assert parse_inspection(text) == ()


def test_tensors_of_another_kind_are_passed_over() -> None:
    layer = {"Name": "k", "LayerType": "kgen", "Inputs": "none", "Outputs": ["y", {"Name": "z"}]}
    assert parse_inspection(json.dumps({"Layers": [layer]})) == (
        Kernel("k", "kgen", (), (), ("",), ("k",)),
    )
