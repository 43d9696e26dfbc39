"""The nodes of a pruned model that are fitted, and samples that stop before each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import onnx_ir as ir

from bmopt.calibration.pruning.batch_norm import is_estimable
from bmopt.calibration.pruning.matching import Matching
from bmopt.calibration.pruning.readers import fittable
from bmopt.calibration.pruning.refitting import Place
from bmopt.calibration.pruning.targets import Beside, Sums
from bmopt.calibration.sequence.bias_home import bias_home
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.runner import OpenModel
from bmopt.graph.pieces import is_constant_node
from bmopt.graph.products import Product, product_of


def places_of(
    pairs: Iterable[tuple[ir.Node, ir.Node]],
    matching: Matching,
    touched: Collection[str],
    sums: Sums | None,
    *,
    every: bool = True,
) -> Iterator[Place]:
    """Yield the nodes that can make up for what went, in graph order.

    Args:
        pairs: Nodes of the original, and the same of the pruned model.
        matching: What is left of the original's constants.
        touched: Tensors of the original that are others in the pruned model.
        sums: Sums behind products, which make up for the errors of what is added to them; None
            where they are not to.
        every: Products that lost no inputs count too.
    """
    fitted: set[ir.Node] = set()
    for theirs, mine in pairs:
        data = theirs.inputs[0] if theirs.inputs else None
        is_touched = data is not None and data.name in touched
        product, small = product_of(theirs), product_of(mine)
        if product is not None and small is not None and len(small.shape) > 1:
            beside = Beside() if sums is None else sums.beside(product, small)
            left = matching.left(theirs.inputs[1], 1 - product.axis)
            is_due = left is not None or (every and is_touched) or beside.is_alone
            if is_due and _is_refittable(small):
                if fittable(mine) is not None:
                    fitted.add(mine)
                stays = matching.left(theirs.inputs[1], product.axis)
                yield Place(theirs, mine, stays, beside)
        elif is_touched and is_estimable(mine) and _maker(mine) not in fitted:
            yield Place(theirs, mine, matching.left(theirs.inputs[3], 0))


def stream_of(
    model: ir.Model, names: Sequence[str], open_model: OpenModel, shelf: Shelf, tag: str
) -> Stream:
    """Return a stream that stops before each of some nodes.

    The last node ends a stage of its own, so that what lies behind the last place counts as
    reading what is kept.
    """
    last = [node for node in model.graph if not is_constant_node(node)][-1].name or ""
    cuts = list(dict.fromkeys([*names, last]))
    return Stream(model, cuts, open_model, shelf, tag=tag, before=True)


def _is_refittable(product: Product) -> bool:
    """Whether the product has a weight or bias of its own that can change."""
    weight = product.node.inputs[1]
    assert weight is not None
    if len(tuple(weight.uses())) > 1:
        return False  # what is shared would be stored twice
    return fittable(product.node) is not None or bias_home(product) is not None


def _maker(node: ir.Node) -> ir.Node | None:
    value = node.inputs[0]
    return None if value is None else value.producer()
