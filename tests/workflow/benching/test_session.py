from __future__ import annotations

import pytest

from bmopt.workflow.benching.session import named


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["m.onnx"], ["m.onnx"]),
        (["out/m.onnx", "out/m.ort-int8/"], ["m.onnx", "m.ort-int8"]),
        (["m.onnx", "openvino:out/m.xml"], ["m.onnx", "openvino:m.xml"]),
        (["m.onnx", "m.onnx", "m.onnx"], ["m.onnx", "m.onnx #2", "m.onnx #3"]),
        (["old/m.onnx", "new/m.onnx"], ["old/m.onnx", "new/m.onnx"]),
        (["old/m.onnx", "new/m.onnx", "k.onnx"], ["old/m.onnx", "new/m.onnx", "k.onnx"]),
        ([r"C:\m.onnx"], [r"C:\m.onnx"]),
    ],
)
def test_names_are_short_and_tell_subjects_apart(texts: list[str], names: list[str]) -> None:
    assert named(texts) == list(zip(names, texts, strict=True))
