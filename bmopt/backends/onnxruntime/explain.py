"""What ONNX Runtime really runs: read off the graph as it optimised it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx

from bmopt.backends.onnxruntime.session import SessionConfig, open_file
from bmopt.core.backend import Executed
from bmopt.core.plan import QuantPlan

_TOKEN = re.compile(r"(_token_\d+)+$")


def explain(path: Path, plan: QuantPlan) -> tuple[Executed, ...]:
    """Return how ONNX Runtime runs every node that ``plan`` wants in integers.

    The nodes are found again in the optimised graph by their names, which ONNX Runtime keeps
    (with a ``_token_N`` behind them) when it replaces a Q/DQ group by one kernel.
    """
    source = onnx.load(str(path), load_external_data=False).graph
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        dump = Path(folder) / "optimized.onnx"
        with open_file(path, SessionConfig(threads=1, dump=dump)):
            pass
        optimised = onnx.load(str(dump), load_external_data=False).graph
    kernels = {_TOKEN.sub("", node.name): node for node in optimised.node}
    nodes = {node.name: node for node in source.node}
    return tuple(_executed(nodes[name], kernels) for name in plan.integer if name in nodes)


def _executed(node: onnx.NodeProto, kernels: Mapping[str, onnx.NodeProto]) -> Executed:
    kernel = kernels.get(node.name)
    if kernel is None:
        # A mover that is gone was found to move nothing: its integers are just passed on.
        return Executed(node.name, "fused", integer=_moves(node))
    return Executed(node.name, kernel.op_type, _is_integer(kernel, node))


def _is_integer(writer: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    kernel = writer.op_type
    if kernel.startswith("QLinear") or kernel in ("QGemm", "MatMulIntegerToFloat"):
        return True
    if kernel == "MatMulInteger" or kernel.startswith("DynamicQuantize"):
        return True
    return kernel.removeprefix("Nhwc") == node.op_type and _moves(node)


def _moves(node: onnx.NodeProto) -> bool:
    return node.op_type in {
        "MaxPool",
        "Reshape",
        "Flatten",
        "Transpose",
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Pad",
    }
