"""Which products are learned together.

A block is what lies between two places where a single tensor is alive: a residual block, from
where the skip parts to the Add that closes it, as BRECQ has it (Li et al. 2021, arXiv:2102.05426).
Products in a row, with such a place between every two, make blocks of a few.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence

import onnx_ir as ir

from bmopt.calibration.sequence.bias_home import bias_home
from bmopt.graph.pieces import is_constant_node, names_read
from bmopt.graph.products import clip_after, product_of

_IN_A_ROW = 3
_LARGEST = 8


@dataclasses.dataclass(frozen=True)
class Unit:
    """Nodes in a row of a graph's order that are learned together.

    Attributes:
        nodes: Their names.
        products: The products among them.
        alone: Why the unit is one product that is learned by itself, and is its first node: the
            ops that torch is not given. Empty for a block.
    """

    nodes: tuple[str, ...]
    products: tuple[str, ...]
    alone: tuple[str, ...] = ()


def cut_blocks(graph: ir.Graph, products: Collection[str]) -> list[Unit]:
    """Return the blocks of ``graph``, in order; what lies behind the last product is in none.

    Args:
        graph: A float graph; every node has a name.
        products: Names of the products that are quantised.
    """
    nodes = [node for node in graph if not is_constant_node(node)]
    places = [i for i, node in enumerate(nodes) if (node.name or "") in products]
    if not places:
        return []
    starts = _starts(places, _alive(graph, nodes))
    ends = [*starts[1:], _end(nodes, places[-1])]
    return [_unit(nodes[start:end], products) for start, end in zip(starts, ends, strict=True)]


def split_alone(unit: Unit, reasons: tuple[str, ...]) -> list[Unit]:
    """Return units of one product each; before the first, what stands before its product."""
    places = [unit.nodes.index(name) for name in unit.products]
    ends = [*places[1:], len(unit.nodes)]
    before = [Unit(unit.nodes[: places[0]], ())] if places[0] else []
    return before + [
        Unit(unit.nodes[place:end], (unit.nodes[place],), reasons)
        for place, end in zip(places, ends, strict=True)
    ]


def _unit(nodes: Sequence[ir.Node], products: Collection[str]) -> Unit:
    names = tuple(node.name or "" for node in nodes)
    return Unit(names, tuple(name for name in names if name in products))


def _alive(graph: ir.Graph, nodes: Sequence[ir.Node]) -> list[int]:
    """Return how many tensors made before node ``i`` are read by it or later, for every ``i``."""
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        last.update(dict.fromkeys(names_read(node), index))
    made = {value.name or "": -1 for value in graph.inputs if not value.is_initializer()}
    made |= {out.name or "": index for index, node in enumerate(nodes) for out in node.outputs}
    alive = [0] * (len(nodes) + 1)
    for name, index in made.items():
        for place in range(index + 1, last.get(name, -1) + 1):
            alive[place] += 1
    return alive


def _starts(places: Sequence[int], alive: Sequence[int]) -> list[int]:
    """Return where blocks start."""
    natural = [0]
    for before, place in itertools.pairwise(places):
        single = [i for i in range(before + 1, place + 1) if alive[i] == 1]
        natural += single[-1:]
    starts: list[int] = []
    in_a_row = 0
    for start, end in zip(natural, [*natural[1:], places[-1] + 1], strict=True):
        group = [place for place in places if start <= place < end]
        is_link = len(group) == 1 and max(alive[start + 1 : end], default=1) <= 1
        if is_link and 0 < in_a_row < _IN_A_ROW:
            in_a_row += 1
            continue
        in_a_row = 1 if is_link else 0
        starts.append(start)
        if len(group) > _LARGEST:
            starts += group[_IN_A_ROW::_IN_A_ROW]
    return starts


def _end(nodes: Sequence[ir.Node], place: int) -> int:
    """Return the end of the last block: behind its last product's bias and activation."""
    product = product_of(nodes[place])
    home = None if product is None else bias_home(product)
    last = nodes[place] if home is None else home.node
    last = clip_after(last) or last
    return next(i for i in range(place, len(nodes)) if nodes[i] is last) + 1
