from __future__ import annotations

import pytest

from bmopt.backends.nvinfer.kernel_types import element_type, node_names
from bmopt.backends.nvinfer.layers import parse_layers, read_layers
from bmopt.core.engine import Kernel

_X = "{ Name: x, Dimensions: [4,64], Strides: [64,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }"  # noqa: E501
_W = "{ Name: w, Dimensions: [64,32], Strides: [32,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }"  # noqa: E501
_A = "{ Name: a, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format }"  # noqa: E501
_Y = "{ Name: y, Dimensions: [4,32], Strides: [32,1], StrideOrder: [1,0], Datatype: Half, Format: (NHWC) Channel major format }"  # noqa: E501
_LINE = (
    f"Name: g_myl0_1, LayerType: gemm, Inputs: [ {_X}], Constants: [ {_W}, {_A}], "
    f"Outputs: [ {_Y}], TacticName: __myelin_CASK_STUB, StreamId: 0, "
    "Metadata: [ONNX Layer: g][ONNX Layer: x_DequantizeLinear]"
)
_KERNEL = Kernel(
    name="g_myl0_1",
    kind="gemm",
    inputs=("int8",),
    constants=("int8", "float"),
    outputs=("float16",),
    nodes=("g", "x_DequantizeLinear"),
    tactic="__myelin_CASK_STUB",
)


def test_reads_every_field() -> None:
    text = f"Layers:\n{_LINE}\n\nI/O Tensors:\n Name: x, LayerType: none\n"
    assert parse_layers(text) == (_KERNEL,)


def test_reads_the_list_out_of_a_log() -> None:
    log = [("INFO", "Layers are fused"), ("VERBOSE", f"Layers:\n{_LINE}"), ("INFO", "done")]
    assert read_layers(log) == (_KERNEL,)


def test_a_kernel_without_tensors_and_nodes() -> None:
    line = "Name: k, LayerType: signal, Inputs: [], Outputs: [], StreamId: 1, Metadata:"
    assert parse_layers(line) == (Kernel("k", "signal", (), (), (), ()),)


def test_a_tensor_name_with_brackets_and_commas() -> None:
    line = _LINE.replace("Name: x,", "Name: h[0], the {first},")
    assert parse_layers(line) == (_KERNEL,)


@pytest.mark.parametrize("length", range(0, len(_LINE), 7))
def test_a_line_cut_anywhere_tells_nothing_wrong(length: int) -> None:
    kernels = parse_layers(f"Layers:\n{_LINE[:length]}")
    assert len(kernels) <= 1
    for kernel in kernels:
        assert _KERNEL.kind.startswith(kernel.kind)
        assert _KERNEL.constants[: len(kernel.constants)] == kernel.constants or (
            # A word may be cut: it is no type then.
            kernel.constants[-1] not in ("int8", "float")
        )
        assert set(kernel.nodes[:-1]) <= set(_KERNEL.nodes)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Float", "float"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("BF16", "bfloat16"),
        ("FP8", "float8e4m3fn"),
        ("Int8", "int8"),
        ("UInt8", "uint8"),
        ("FP4", "float4e2m1"),
        ("Novel", "novel"),
        ("", ""),
        ("Thirty-two wide channel vectorized row major Int8 format.", "int8"),
        ("Channel major FP16 format where channel % 8 == 0", "float16"),
        ("Row major linear FP32", "float"),
        ("N/A due to dynamic shapes", ""),
    ],
)
def test_names_types_as_onnx_does(text: str, name: str) -> None:
    assert element_type(text) == name


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ("", ()),
        ("[ONNX Layer: a]", ("a",)),
        ("[ONNX Layer: a][ONNX Layer: b][ONNX Layer: a]", ("a", "b")),
        ("[ONNX Layer: a]\x1e[ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: layers[0]][ONNX Layer: b[1].c]", ("layers[0]", "b[1].c")),
        ("[ONNX Layer: cut of", ("cut of",)),
        ("something else", ()),
    ],
)
def test_reads_node_names(metadata: str, names: tuple[str, ...]) -> None:
    assert node_names(metadata) == names
