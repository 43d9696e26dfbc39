"""How the nodes run that a plan wants in 8 bits, from the kernels of a built engine.

A kernel names the ONNX nodes that it stands for, and a node may be named by several: a product's
kernel is preceded by a pointwise one that quantises its input and followed by one that rescales
its output, and both may name the product. So:

1. A product runs in 8 bits if every kernel that can be its multiply-adds does. Pointwise kernels
   can't, unless no other names the node. Such a kernel reads at least one 8-bit activation, and
   two 8-bit operands in all (the weight is a constant, or an input where it is prepared by another
   kernel). Fused kernels tell in their name what they do in turn: a Cast before the product means
   that 8-bit operands are widened first and multiplied in float.
2. Any other node (the Add that joins a residual branch, a pool, a Concat) runs in 8 bits if a
   kernel that names it reads 8-bit values or, where it only moves them, writes some. A pointwise
   kernel does many nodes' work, so it has to name the node's DequantizeLinear too.
3. A node that no kernel names is folded into a constant or moves nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx

from bmopt.core.backend import Executed
from bmopt.core.engine import Kernel
from bmopt.core.plan import QuantPlan

EIGHT_BITS = ("int8", "uint8", "float8e4m3fn")

FOLDED = "folded"
"""Kernel of a node that is gone from the engine."""

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOVERS = (
    "Concat",
    "DepthToSpace",
    "Flatten",
    "MaxPool",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_POINTWISE = (
    "kgen",
    "NoOp",
    "PointWise",
    "PointWiseV2",
    "Reformat",
    "Scale",
    "shape_call",
    "signal",
    "wait",
)
_FUSED_OPS = re.compile(r"^__myl_(?P<ops>[A-Za-z]+?)_myl")
_WIDENED = re.compile(r"Cast.*?(?:Fc|Corr|Deco|Conv|Gemm|Mm)")
_INTEGER_TACTIC = re.compile(r"i8i8|i8i32|imma|int8|e4m3")


def explain(graph: Path, plan: QuantPlan, kernels: Sequence[Kernel]) -> tuple[Executed, ...]:
    """Return how each node in ``plan.integer`` of ``graph`` runs in an engine with ``kernels``.

    Empty where the engine does not tell its kernels. Nodes that ``graph`` lacks are left out.
    """
    if not kernels:
        return ()
    nodes = onnx.load(str(graph), load_external_data=False).graph.node
    known = {node.name: node for node in nodes}
    writers = {name: node for node in nodes for name in node.output}
    named: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        for name in kernel.nodes:
            named.setdefault(name, []).append(kernel)
    return tuple(
        _executed(known[name], named.get(name, ()), _dequantizers(known[name], writers))
        for name in plan.integer
        if name in known
    )


def _dequantizers(node: onnx.NodeProto, writers: Mapping[str, onnx.NodeProto]) -> set[str]:
    sources = (writers[name] for name in node.input if name in writers)
    return {source.name for source in sources if source.op_type == "DequantizeLinear"}


def _executed(
    node: onnx.NodeProto, candidates: Sequence[Kernel], dequantizers: set[str]
) -> Executed:
    moves = node.op_type in _MOVERS
    if not candidates:
        return Executed(node.name, FOLDED, integer=moves)
    if node.op_type in _PRODUCTS:
        return _product(node.name, candidates)
    if moves:
        return _other(node.name, candidates, [(*k.inputs, *k.outputs) for k in candidates])
    reads = [k.inputs if _reads(k, dequantizers) else () for k in candidates]
    return _other(node.name, candidates, reads)


def _reads(kernel: Kernel, dequantizers: set[str]) -> bool:
    return kernel.kind not in _POINTWISE or bool(dequantizers & set(kernel.nodes))


def _product(name: str, candidates: Sequence[Kernel]) -> Executed:
    able = [kernel for kernel in candidates if kernel.kind not in _POINTWISE] or candidates
    # The weakest counts: a product that is split has to be in 8 bits throughout.
    floats = [kernel for kernel in able if not multiplies_8_bits(kernel)]
    kernel = (floats or able)[0]
    dtype = _float_type(kernel) if floats else _eight_bits(_operands(kernel))
    return Executed(name, kernel.kind, integer=not floats, dtype=dtype)


def multiplies_8_bits(kernel: Kernel) -> bool:
    """Return whether a kernel multiplies 8-bit operands."""
    stored = [dtype for dtype in kernel.constants if dtype in EIGHT_BITS]
    if not any(kernel.inputs):
        # Types of dynamic tensors may be untold; the implementation's name has them.
        return bool(stored) and _INTEGER_TACTIC.search(kernel.tactic) is not None
    read = [dtype for dtype in kernel.inputs if dtype in EIGHT_BITS]
    return bool(read) and len(read) + len(stored) > 1 and not _widens(kernel)


def _widens(kernel: Kernel) -> bool:
    fused = _FUSED_OPS.match(kernel.name)
    return fused is not None and _WIDENED.search(fused["ops"]) is not None


def _other(
    name: str, candidates: Sequence[Kernel], touched: Sequence[tuple[str, ...]]
) -> Executed:
    for kernel, dtypes in zip(candidates, touched, strict=True):
        dtype = _eight_bits(dtypes)
        if dtype:
            return Executed(name, kernel.kind, integer=True, dtype=dtype)
    kernel = candidates[0]
    return Executed(name, kernel.kind, integer=False, dtype=_float_type(kernel))


def _operands(kernel: Kernel) -> tuple[str, ...]:
    return (*kernel.inputs, *kernel.constants)


def _eight_bits(dtypes: Iterable[str]) -> str:
    return next((dtype for dtype in dtypes if dtype in EIGHT_BITS), "")


def _float_type(kernel: Kernel) -> str:
    told = [d for d in (*kernel.inputs, *kernel.outputs) if d and d not in EIGHT_BITS]
    return told[0] if told else ""
