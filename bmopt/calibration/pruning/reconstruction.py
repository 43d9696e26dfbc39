"""Fit what is left of a pruned model to what the original computes, product after product.

Every product is fitted on what the pruned products before it give it, against what the original
one computes at the same place, so that it makes up for their errors as well as for the channels
that it lost. Fitting layer by layer in closed form after channels went is Y. He et al., "Channel
Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import onnx_ir as ir

from bmopt.calibration.pruning.matching import Matching, pairs_of, touched_values
from bmopt.calibration.pruning.places import places_of, stream_of
from bmopt.calibration.pruning.refitting import Refitted, refitted
from bmopt.calibration.pruning.targets import Sums
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import feed_first
from bmopt.core.corrections import Corrections
from bmopt.core.dataset import Dataset
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.runner import OpenModel
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.model_digest import model_digest


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
        matching = Matching(channels_of(original).groups, plan.removed)
        touched = touched_values(original, matching.is_changed)
        pairs = pairs_of(original, pruned)
        sums = Sums(original.graph, pruned.graph) if options.sums else None
        self.places = list(places_of(pairs, matching, touched, sums, every=options.every))
        names = [place.name for place in self.places]
        self.original = stream_of(original, names, open_model, shelf, "original")
        self.pruned = stream_of(pruned, names, open_model, shelf, "pruned")

    def refitted(self, stage: int) -> Refitted:
        """Return what is found for the node behind ``stage``, which it reads from now on."""
        return refitted(self.places[stage], self.original, self.pruned, stage)
