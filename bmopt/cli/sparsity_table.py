"""The zeros of a model's weights, as a table and as a document."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bmopt.cli.output import print_table, say
from bmopt.cli.units import count_text, shape_text

if TYPE_CHECKING:
    from bmopt.graph.sparsity import WeightSparsity


def sparsity_document(found: Sequence[WeightSparsity]) -> dict[str, Any]:
    """Return what ``--json`` prints: totals, and every product with its share of zeros."""
    weights, zeros = _totals(found)
    return {
        "weights": weights,
        "zeros": zeros,
        "share": zeros / max(weights, 1),
        "products": [
            {**dataclasses.asdict(one), "share": one.zeros / max(one.weights, 1)} for one in found
        ],
    }


def print_sparsity(found: Sequence[WeightSparsity]) -> None:
    """Print a line for every product, and the total."""
    if not found:
        say("no product by a constant weight")
        return
    headers = ("product", "op", "weight", "weights", "zeros", "N:M", "blocks of zeros")
    print_table(headers, [_row(one) for one in found], right=(3, 4))
    say()
    weights, zeros = _totals(found)
    say(f"zeros: {_percent(zeros, weights)} of {count_text(weights)} weights")
    holding = sum("2:4" in one.patterns for one in found)
    say(f"2:4 along the channels that are summed over: {holding} of {len(found)} products")


def _row(one: WeightSparsity) -> tuple[str, ...]:
    return (
        one.node,
        one.op_type,
        shape_text(one.shape),
        count_text(one.weights),
        _percent(one.zeros, one.weights),
        " ".join(one.patterns),
        ", ".join(f"{block.block} {100 * block.share:.0f} %" for block in one.blocks),
    )


def _totals(found: Sequence[WeightSparsity]) -> tuple[int, int]:
    return sum(one.weights for one in found), sum(one.zeros for one in found)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"
