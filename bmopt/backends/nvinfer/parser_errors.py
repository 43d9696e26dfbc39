"""What the ONNX parser refuses, and why, in words that name the node."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from bmopt.backends.nvinfer.build_log import plain
from bmopt.backends.nvinfer.native import Native

_ASSERTION = re.compile(r"^Assertion failed: (?P<rest>.*)$", re.S)
_QUOTED = re.compile(r'"(?P<text>[^"]+)"')
_TEXT_AFTER_CONDITION = re.compile(r"(?:\)|\w): (?P<text>[A-Z][^:].*)$", re.S)
_FLAG_ADVICE = re.compile(r"\s*Please set k[A-Z0-9_]+[^.]*\.?")
_SHOWN = 3
_CLEARER = {
    "": "this op is not supported",
    "false": "this op is not supported",
    "Plugin not found, are the plugin name, version, and namespace correct?": (
        "it is no op of ONNX, and no plugin has that name"
    ),
}
"""What the parser says -> what it means."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """One node that the parser refuses.

    Attributes:
        node: Its name; empty where it is the whole model.
        op: Its op type.
        reason: Why, in one line.
    """

    node: str
    op: str
    reason: str

    def __str__(self) -> str:
        """Return ``node 'x' (Op): reason``."""
        where = f"node {self.node!r} ({self.op})" if self.op else "the model"
        return f"{where}: {self.reason}"


def read_refusals(parser: Native) -> list[Refusal]:
    """Return what an ``OnnxParser`` that failed complains of."""
    errors = (parser.get_error(index) for index in range(parser.num_errors))
    return [Refusal(e.node_name(), e.node_operator(), reason_of(e.desc())) for e in errors]


def reason_of(description: str) -> str:
    """Return a parser error's description without the source code in it, in one line."""
    lines = [line for line in description.splitlines() if "Error Code" in line]
    if lines:
        return plain(lines[0])
    text = description.strip()
    match = _ASSERTION.match(text)
    text = match["rest"] if match else text
    after = _TEXT_AFTER_CONDITION.search(text)
    quoted = _QUOTED.search(text)
    if after:
        text = after["text"]
    elif quoted:
        text = quoted["text"]
    text = " ".join(_FLAG_ADVICE.sub("", text).split()).rstrip(". ")
    return _CLEARER.get(text, text)


def accepted_parts(parser: Native, graph: Path) -> list[list[int]]:
    """Return the node indices of each part of the graph that a fresh parser would take.

    What is in none of them is refused.
    """
    parser.supports_model_v2(graph.read_bytes(), str(graph))
    return [list(parser.get_subgraph_nodes(index)) for index in range(parser.num_subgraphs)]


def message(name: str, refusals: list[Refusal], parts: list[list[int]], nodes: int) -> str:
    """Return the refusal of a model in one line.

    Args:
        name: What to call the engine.
        refusals: What the parser complains of.
        parts: What ``accepted_parts`` returned.
        nodes: How many nodes the graph has.
    """
    if not refusals:
        return f"{name} refuses the model and does not say why"
    more = [f"{r.node!r} ({r.op})" for r in refusals[1 : 1 + _SHOWN] if r.op]
    text = f"{name} refuses {refusals[0]}"
    if more:
        hidden = len(refusals) - 1 - len(more)
        text += f"; it also refuses {', '.join(more)}{f' and {hidden} more' if hidden else ''}"
    taken = sum(map(len, parts))
    if taken:
        text += f"; it takes {taken} of the graph's {nodes} nodes, in {len(parts)} part"
        text += "s" if len(parts) > 1 else ""
    return text
