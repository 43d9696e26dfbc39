"""Fit what is left of a pruned model to what the original computes, product after product.

Every product is fitted on what the pruned products before it give it, against what the original
one computes at the same place, so that it makes up for their errors as well as for the channels
that it lost. Fitting layer by layer in closed form after channels went is Y. He et al., "Channel
Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import onnx_ir as ir

from bmopt.calibration.pruning.batch_norm import ChannelMoments, estimated, is_estimable
from bmopt.calibration.pruning.matching import Matching, pairs_of, touched_values
from bmopt.calibration.pruning.readers import fittable
from bmopt.calibration.pruning.refitting import Place, Refitted, refitted
from bmopt.calibration.pruning.targets import branch_beside
from bmopt.calibration.sequence.bias_home import bias_home
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream, feed_first
from bmopt.core.corrections import Corrections, LayerFacts
from bmopt.core.dataset import Dataset
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.runner import OpenModel
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.model_digest import model_digest
from bmopt.graph.pieces import is_constant_node
from bmopt.graph.products import Product, product_of


@dataclasses.dataclass(frozen=True)
class ReconstructOptions:
    """How a pruned model is fitted.

    Attributes:
        samples: Samples to use at most: the first ones.
        batch_size: Samples per inference.
        every: Products that lost no inputs are fitted too, as what they read has changed.
        sums: Where a product's output is added to another branch, it makes up for its errors.
    """

    samples: int = 1024
    batch_size: int = 32
    every: bool = True
    sums: bool = True


def reconstruct(
    original: ir.Model,
    pruned: ir.Model,
    plan: PrunePlan,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    options: ReconstructOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corrections:
    """Return weights, biases and BatchNormalization statistics for a pruned model.

    Args:
        original: The model before, whose shapes were inferred; is not changed.
        pruned: The same after ``plan``, node names kept; is not changed.
        plan: What went.
        dataset: The calibration samples.
        open_model: Opens parts of both models; what its runners return is kept.
        options: How.
        progress: Called with the nodes done and the nodes in all.

    Raises:
        PruningError: The models are not the same before and after the plan.
        DataError: There are no samples, or they do not fit.
    """
    options = options or ReconstructOptions()
    found = []
    with Shelf() as shelf:
        walk = _Walk(original, pruned, plan, open_model, shelf, options)
        if walk.places:
            streams = [walk.original, walk.pruned]
            feed_first(streams, dataset, options.batch_size, options.samples)
        for stage in range(len(walk.places)):
            found.append(walk.refitted(stage))
            if progress is not None:
                progress(stage + 1, len(walk.places))
    return Corrections(
        model=model_digest(pruned),
        replacements=tuple(one for refitted in found for one in refitted.replacements),
        scales={},
        biases={},
        layers=tuple(refitted.facts for refitted in found),
    )


class _Walk:
    """The samples on their way through both models."""

    def __init__(
        self,
        original: ir.Model,
        pruned: ir.Model,
        plan: PrunePlan,
        open_model: OpenModel,
        shelf: Shelf,
        options: ReconstructOptions,
    ) -> None:
        self._matching = Matching(channels_of(original), plan.removed)
        self._touched = touched_values(original, self._matching)
        self._options = options
        self.places = list(self._places(original, pruned))
        names = [place.pruned.name or "" for place in self.places]
        # The last node ends a stage of its own, so that what lies behind the last place counts as
        # reading what is kept.
        cuts = []
        for model in (original, pruned):
            last = [node for node in model.graph if not is_constant_node(node)][-1].name or ""
            cuts.append(list(dict.fromkeys([*names, last])))
        self.original = Stream(original, cuts[0], open_model, shelf, tag="original", before=True)
        self.pruned = Stream(pruned, cuts[1], open_model, shelf, tag="pruned", before=True)

    def _places(self, original: ir.Model, pruned: ir.Model) -> Iterator[Place]:
        done: set[ir.Node] = set()
        fitted: set[ir.Node] = set()
        for theirs, mine in pairs_of(original, pruned):
            data = mine.inputs[0] if mine.inputs else None
            if data is not None and data.name in self._touched:
                product = product_of(mine)
                if product is not None and len(product.shape) > 1:
                    place = self._product_place(theirs, mine, done)
                    if place is not None:
                        if fittable(mine) is not None:
                            fitted.add(mine)
                        yield place
                elif is_estimable(mine) and data.producer() not in fitted:
                    yield Place(theirs, mine, self._matching.left(theirs.inputs[3], 0), None)
            done.add(theirs)

    def _product_place(self, theirs: ir.Node, mine: ir.Node, done: set[ir.Node]) -> Place | None:
        product, small = product_of(theirs), product_of(mine)
        if product is None or small is None or not self._is_refittable(small):
            return None
        reads = 1 - product.axis
        if not self._options.every and self._matching.left(theirs.inputs[1], reads) is None:
            return None
        branch = branch_beside(product, done) if self._options.sums else None
        return Place(theirs, mine, self._matching.left(theirs.inputs[1], product.axis), branch)

    def _is_refittable(self, product: Product) -> bool:
        """Whether the product has a weight or bias of its own that can change."""
        weight = product.node.inputs[1]
        assert weight is not None
        if len(tuple(weight.uses())) > 1:
            return False  # what is shared would be stored twice
        return fittable(product.node) is not None or bias_home(product) is not None

    def refitted(self, stage: int) -> Refitted:
        """Return what is found for the node behind ``stage``, which it reads from now on."""
        place = self.places[stage]
        # One after the other, so that an engine's threads are not in the way of the next one's.
        self.original.pass_on(stage)
        self.pruned.pass_on(stage)
        if product_of(place.pruned) is None:
            found = self._normalised(place)
        else:
            found = refitted(place, self.original, self.pruned, stage)
        for replacement in found.replacements:
            self.pruned.replace(replacement)
        return found

    def _normalised(self, place: Place) -> Refitted:
        name = place.data
        before = ChannelMoments(
            place.left(self.original.get(number, name), 1)
            for number in range(self.original.batches)
        )
        now = ChannelMoments(self.pruned.get(i, name) for i in range(self.pruned.batches))
        facts = LayerFacts(place.name, ("statistics",), 0.0, 0.0)
        return Refitted(facts, tuple(estimated(place.pruned, before, now)))
