"""Learn the rounding and biases of a quantised model, block after block.

Every block is learned on what the quantised blocks before it compute, as they were learned,
against what the float model computes. What is better block by block need not be so in the end,
as the products behind a block were refined on what it computed before: so the whole is taken only
if the last block errs less with it, on samples that nothing was learned on.
"""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.walk import Progress, Walk
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import first_batches
from bmopt.core.corrections import Corrections
from bmopt.core.dataset import Dataset
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import OpenModel
from bmopt.differentiable.torch_access import repeatable, require_torch
from bmopt.errors import DataError


def learn_blocks(
    model: ir.Model,
    quantized: ir.Model,
    plan: QuantPlan,
    corrections: Corrections,
    dataset: Dataset,
    open_model: OpenModel,
    options: LearnOptions | None = None,
    *,
    batch_size: int = 16,
    shelf: Shelf | None = None,
    progress: Progress | None = None,
) -> Corrections:
    """Return ``corrections`` with better whole numbers and biases where learning found some.

    A product's ``LayerFacts.steps`` end with ``"learned"`` where it did, or with ``"learned
    alone"`` where its block has ops that torch is not given, which are named.

    Args:
        model: The float model; is not changed.
        quantized: The same after ``corrections`` and ``plan``, node names kept.
        plan: The plan with the scales of ``corrections``.
        corrections: What to start from.
        dataset: The calibration samples.
        open_model: Opens parts of both models, without rewriting Q/DQ nodes.
        options: How to learn.
        batch_size: Samples per inference.
        shelf: Where tensors are kept between blocks.
        progress: Called with the blocks done and the blocks in all.

    Raises:
        UsageError: torch is not installed.
        DataError: There are no samples, or they do not fit.
        CalibrationError: Something between the blocks is no tensor.
    """
    torch = require_torch()
    chosen = options or LearnOptions()
    with repeatable(torch), shelf or Shelf() as kept:

        def walked(tag: str, limited: LearnOptions, tell: Progress | None) -> Walk:
            walk = Walk(model, quantized, plan, open_model, kept, limited, tag)
            for batch in first_batches(dataset, batch_size, chosen.samples):
                walk.feed(batch)
            if not walk.sizes:
                raise DataError(f"{dataset.name}: has no samples; learning needs at least one")
            walk.run(tell)
            return walk

        learned = walked("learned", chosen, progress)
        if not learned.has_learned:
            return corrections
        start = walked("start", dataclasses.replace(chosen, seconds=0.0), None)
    return learned.joined(corrections) if learned.error < start.error else corrections
