"""Convolutions and matrix products in torch."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from bmopt.differentiable.call import Call, Op
from bmopt.differentiable.torch_access import Tensor


def _conv(call: Call) -> Tensor:
    x, weight, *rest = call.inputs
    assert x is not None
    assert weight is not None
    rank = x.dim() - 2
    functional = call.torch.nn.functional
    strides = call.integers("strides", (1,) * rank)
    dilations = call.integers("dilations", (1,) * rank)
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pads = pads_of(call, list(x.shape[2:]), spans, strides)
    run = getattr(functional, f"conv{rank}d")
    groups = call.integer("group", 1)
    bias = rest[0] if rest else None
    if all(before == behind for before, behind in pads):
        both = [before for before, _ in pads]
        return run(x, weight, bias, strides, both, dilations, groups)
    return run(functional.pad(x, torch_pads(pads)), weight, bias, strides, 0, dilations, groups)


def _conv_transpose(call: Call) -> Tensor:
    x, weight, *rest = call.inputs
    assert x is not None
    rank = x.dim() - 2
    run = getattr(call.torch.nn.functional, f"conv_transpose{rank}d")
    return run(
        *(x, weight, rest[0] if rest else None),
        stride=call.integers("strides", (1,) * rank),
        padding=call.integers("pads", (0,) * 2 * rank)[:rank],
        output_padding=call.integers("output_padding", (0,) * rank),
        groups=call.integer("group", 1),
        dilation=call.integers("dilations", (1,) * rank),
    )


def pads_of(
    call: Call, sizes: list[int], spans: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    """Return the padding before and behind, for every spatial axis."""
    mode = call.text("auto_pad", "NOTSET")
    flat = call.integers("pads", (0,) * 2 * len(sizes))
    found = []
    for axis, (size, span, stride) in enumerate(zip(sizes, spans, strides, strict=True)):
        total = max((-(-size // stride) - 1) * stride + span - size, 0)
        small, large = total // 2, total - total // 2
        by_mode = {
            "VALID": (0, 0),
            "SAME_UPPER": (small, large),
            "SAME_LOWER": (large, small),
        }
        found.append(by_mode.get(mode, (flat[axis], flat[axis + len(sizes)])))
    return found


def torch_pads(pads: list[tuple[int, int]]) -> list[int]:
    """Return the padding in torch's order: the last axis first."""
    return [amount for pair in reversed(pads) for amount in pair]


def _gemm(call: Call) -> Tensor:
    a, b, *rest = call.inputs
    assert a is not None
    assert b is not None
    a = a.T if call.integer("transA", 0) else a
    b = b.T if call.integer("transB", 0) else b
    found = call.real("alpha", 1.0) * (a @ b)
    c = rest[0] if rest else None
    return found if c is None else found + call.real("beta", 1.0) * c


def _matmul(call: Call) -> Tensor:
    a, b = call.inputs
    return call.torch.matmul(a, b)


def _einsum(call: Call) -> Tensor:
    return call.torch.einsum(call.text("equation", ""), *call.inputs)


def _is_spatial(node: ir.Node) -> bool:
    weight: Any = node.inputs[1]
    return weight.shape is None or len(weight.shape) in (3, 4, 5)


def _is_even_transpose(node: ir.Node) -> bool:
    """Whether as much is taken away before as behind, by numbers that are given."""
    pads = [int(pad) for pad in node.attributes.get_ints("pads", ())]
    half = len(pads) // 2
    given = node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    return (
        given
        and pads[:half] == pads[half:]
        and "output_shape" not in node.attributes
        and _is_spatial(node)
    )


PRODUCTS: dict[str, Op] = {
    "Conv": Op(_conv, _is_spatial),
    "ConvTranspose": Op(_conv_transpose, _is_even_transpose),
    "Einsum": Op(_einsum),
    "Gemm": Op(_gemm),
    "MatMul": Op(_matmul),
}
"""Op type -> how it runs."""
