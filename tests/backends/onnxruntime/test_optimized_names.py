from __future__ import annotations

import pytest

from bmopt.backends.onnxruntime.optimized_names import node_stems, value_stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("conv", "conv"),
        ("conv_token_3", "conv"),
        ("conv_token_3_token_12", "conv"),
        ("fused conv", "conv"),
        ("fused MatMul_1/MatMulAddFusion", "MatMul_1"),
        ("/1/key/MatMul/MatmulTransposeFusion/", "/1/key/MatMul"),
        ("/Slice_5/GatherSliceToSplitFusion", "/Slice_5"),
    ],
)
def test_the_name_of_the_node_before(name: str, stem: str) -> None:
    assert stem in node_stems(name)
    assert node_stems(name)[0] == name


def test_a_node_in_another_layout_is_named_after_its_output() -> None:
    assert value_stem("relu_out_nchwc") == "relu_out"
    assert value_stem("relu_out_nchwc_token_4") == "relu_out"
    assert value_stem("relu_out") is None
