"""The list of kernels that TensorRT-RTX logs at the end of a build, in words, one line each.

An engine for several compute capabilities has one program, made for what all of them can do (with
sm75 among them, convolutions run in float on every one), so there is one list. Its lines are::

    Name: N, LayerType: gemm, Inputs: [ { Name: T, Dimensions: [4,64], ..., Datatype: Int8,
    Format: ... }, ...], Constants: [ ... ], Outputs: [ ... ], TacticName: ..., StreamId: 0,
    Metadata: [ONNX Layer: node][ONNX Layer: other]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bmopt.backends.nvinfer.build_log import LAYERS
from bmopt.backends.nvinfer.kernel_types import element_type, node_names
from bmopt.core.engine import Kernel

_HEAD = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*)(?P<rest>.*)$")
_SECTIONS = ("Inputs", "Constants", "Outputs")
_SECTION = re.compile(r", (?P<name>Inputs|Constants|Outputs): \[")
_TACTIC = re.compile(r", TacticName: (?P<name>.*?)(?=, StreamId: |, Metadata: ?|$)")
_METADATA = ", Metadata:"
_DATATYPE = re.compile(r", Datatype: (?P<type>[^,}\]]+)")


def read_layers(log: Sequence[tuple[str, str]]) -> tuple[Kernel, ...]:
    """Return the kernels listed in a build's log of (severity, message).

    Fields that are cut off or unknown are left empty; lines that are no kernels are passed over.
    """
    texts = [text for _, text in log if text.startswith(LAYERS)]
    return tuple(kernel for text in texts for kernel in parse_layers(text))


def parse_layers(text: str) -> tuple[Kernel, ...]:
    """Return the kernels of one ``Layers:`` message."""
    found = []
    for line in text.splitlines():
        if line.startswith("I/O Tensors:"):
            break
        match = _HEAD.match(line)
        if match:
            found.append(_kernel(match["name"], match["kind"].strip(), match["rest"]))
    return tuple(found)


def _kernel(name: str, kind: str, rest: str) -> Kernel:
    tensors, _, metadata = rest.partition(_METADATA)
    sections = _sections(tensors)
    tactic = _TACTIC.search(tensors)
    types = {key: _types(sections.get(key, "")) for key in _SECTIONS}
    return Kernel(
        name=name,
        kind=kind,
        inputs=types["Inputs"],
        constants=types["Constants"],
        outputs=types["Outputs"],
        nodes=node_names(metadata),
        tactic=tactic["name"].strip() if tactic else "",
    )


def _sections(text: str) -> dict[str, str]:
    starts = list(_SECTION.finditer(text))
    ends = [*(match.start() for match in starts[1:]), len(text)][: len(starts)]
    return {m["name"]: text[m.end() : end] for m, end in zip(starts, ends, strict=True)}


def _types(section: str) -> tuple[str, ...]:
    return tuple(element_type(match["type"]) for match in _DATATYPE.finditer(section))
