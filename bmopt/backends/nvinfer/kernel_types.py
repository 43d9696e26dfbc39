"""What SDKs call element types and ONNX nodes where they describe kernels."""

from __future__ import annotations

import re

_WORDS = {
    "float": "float",
    "fp32": "float",
    "half": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "fp8": "float8e4m3fn",
    "int8": "int8",
    "uint8": "uint8",
    "int4": "int4",
    "fp4": "float4e2m1",
    "e8m0": "float8e8m0",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
"""An SDK's word, lower case -> ONNX's."""

_WORD = re.compile(r"\w+")
_LAYER = "[ONNX Layer: "
_SEPARATOR = re.compile(r"\]\s*\x1e?\s*(?=\[ONNX Layer: )")


def element_type(text: str) -> str:
    """Return ONNX's name of the element type that ``text`` names or describes.

    ``text`` is a word such as ``"Half"``, or a sentence such as ``"Channel major FP16 format
    where channel % 8 == 0"``. A single unknown word comes back in lower case; a sentence without
    a type (TensorRT's ``"N/A due to dynamic shapes"``) gives an empty text.
    """
    words = [word.lower() for word in _WORD.findall(text)]
    for word in words:
        if word in _WORDS:
            return _WORDS[word]
    return words[0] if len(words) == 1 else ""


def node_names(metadata: str) -> tuple[str, ...]:
    """Return the nodes in ``[ONNX Layer: a][ONNX Layer: b]``; TensorRT separates them by 0x1E.

    Names may contain brackets themselves.
    """
    *whole, last = _SEPARATOR.split(metadata.strip())
    parts = (*whole, last.removesuffix("]"))
    names = (part.removeprefix(_LAYER).strip() for part in parts if part.startswith(_LAYER))
    return tuple(dict.fromkeys(names))
