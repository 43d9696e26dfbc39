"""What is left of a cut's error once the products behind it are fitted as well.

What a group's readers cannot make up for, those behind them may: an early block's work is often
done again by the blocks after it. So losses right behind a cut tell too little of what comes of it
in the end, and the less the earlier in the graph it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import onnx_ir as ir

from bmopt.calibration.pruning.matching import Matching, touched_values
from bmopt.calibration.pruning.places import places_of, stream_of
from bmopt.calibration.pruning.refitting import Place, refitted
from bmopt.calibration.pruning.targets import Sums
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.core.corrections import Replacement
from bmopt.core.dataset import Batch
from bmopt.core.runner import OpenModel

_ROWS = 0.25


class Settler:
    """Fits what comes behind a cut.

    Args:
        model: The whole model; is not changed.
        batches: The samples to fit on.
        open_model: Opens parts of the model; what its runners return is kept.
        most: How many products are fitted at most: the first ones behind the cut.
    """

    def __init__(
        self,
        model: ir.Model,
        batches: Sequence[Batch],
        open_model: OpenModel,
        most: int,
    ) -> None:
        self._model = model
        self._sums = Sums(model.graph, model.graph)
        self._batches = batches
        self._open = open_model
        self._most = most

    def fitted(self, cut: Sequence[Replacement]) -> list[Replacement]:
        """Return constants of the products behind some nodes that were given other constants."""
        nodes = {one.node for one in cut}
        places = self._places(nodes)
        names = [place.name for place in places]
        found: list[Replacement] = []
        with Shelf() as shelf:
            whole = stream_of(self._model, names, self._open, shelf, "whole")
            less = stream_of(self._model, names, self._open, shelf, "less")
            for one in cut:
                less.replace(one)
            for number, batch in enumerate(self._batches):
                whole.feed(number, batch.feeds)
                less.feed(number, batch.feeds)
            for stage, place in enumerate(places):
                found += refitted(place, whole, less, stage, rows=_ROWS).replacements
        return found

    def _places(self, nodes: Collection[str]) -> list[Place]:
        touched = touched_values(self._model, lambda node: node.name in nodes)
        pairs = [(node, node) for node in self._model.graph if node.name not in nodes]
        every = places_of(pairs, Matching((), {}), touched, self._sums)
        return list(itertools.islice(every, self._most))
