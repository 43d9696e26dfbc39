"""Refine the weights and biases of a quantised model, product after product.

Every product is refined on what the quantised products before it give it, against what the float
ones do, so that it makes up for their errors as well as for its own. Samples move from product to
product; what is alive between two is kept, so the time is linear in the number of products.

Sequential correction with quantised activations follows Finkelstein et al. 2019 ("Fighting
Quantization Bias With Bias", arXiv:1906.03193) and Nagel et al. 2019 (arXiv:1906.04721).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.layer import Layer, Refined, refinable
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.calibration.sequence.storage import Storage
from bmopt.calibration.sequence.stream import Stream, feed_first
from bmopt.core.corrections import Corrections
from bmopt.core.dataset import Dataset
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import OpenModel

DEFAULT_SAMPLES = 512
"""Samples that a model is refined on; what more of them add is noise."""

_SEED = 20_190_604


def refine(
    model: ir.Model,
    quantized: ir.Model,
    plan: QuantPlan,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    steps: RefineSteps | None = None,
    batch_size: int = 16,
    samples: int = DEFAULT_SAMPLES,
    shelf: Shelf | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corrections:
    """Return better weights, scales and biases for every product of ``plan``.

    Args:
        model: The float model; is not changed.
        quantized: The same after ``plan``, node names kept.
        plan: Which products there are, and how each weight is stored.
        dataset: The calibration samples.
        open_model: Opens parts of both models, without rewriting Q/DQ nodes.
        steps: What to do; everything if not given.
        batch_size: Samples per inference.
        samples: Samples to use at most: the first ones.
        shelf: Where tensors are kept between products; is emptied in the end.
        progress: Called with the products done and the products in all.

    Raises:
        DataError: There are no samples, or they do not fit.
        CalibrationError: Something between the products is no tensor.
    """
    refined = []
    with shelf or Shelf() as kept:
        walk = _Walk(model, quantized, plan, open_model, kept)
        feed_first([walk.floats, walk.stored], dataset, batch_size, samples)
        for stage in range(walk.stages):
            refined.append(walk.refined(stage, steps or RefineSteps()))
            if progress is not None:
                progress(stage + 1, walk.stages)
    return Corrections(
        model=plan.model,
        replacements=tuple(r for found in refined for r in found.replacements),
        scales={found.facts.node: found.scales for found in refined},
        biases={f.facts.node: f.new_bias for f in refined if f.new_bias is not None},
        layers=tuple(found.facts for found in refined),
    )


class _Walk:
    """The samples on their way through both graphs."""

    def __init__(
        self,
        model: ir.Model,
        quantized: ir.Model,
        plan: QuantPlan,
        open_model: OpenModel,
        shelf: Shelf,
    ) -> None:
        self._products = list(refinable(model, plan).values())
        names = [product.node.name or "" for product in self._products]
        self.floats = Stream(model, names, open_model, shelf, tag="float", before=True)
        self.stored = Stream(quantized, names, open_model, shelf, tag="stored", before=True)
        self._plan = plan
        by_name = {node.name or "": node for node in quantized.graph}
        self._stored_nodes = [by_name[name] for name in names]

    @property
    def stages(self) -> int:
        """How many products there are."""
        return len(self._products)

    def refined(self, stage: int, steps: RefineSteps) -> Refined:
        """Return what is found for the product behind ``stage``, which it reads from now on."""
        product = self._products[stage]
        layer = Layer(product, Storage.of(product, self._plan), steps, self.floats.batches)
        # One after the other, so that an engine's threads are not in the way of the next one's.
        self.floats.pass_on(stage)
        self.stored.pass_on(stage)
        with threads_for(layer.size):
            self._show(stage, layer)
            refined = layer.refined()
        for replacement in refined.replacements:
            self.stored.replace(replacement)
        return refined

    def _show(self, stage: int, layer: Layer) -> None:
        mine, theirs = self._stored_nodes[stage], self._products[stage].node
        if layer.wants_outputs:
            found = self.stored.peek(stage + 1, _name(mine.outputs[0]))
            wanted = self.floats.peek(stage + 1, _name(theirs.outputs[0]))
            for pair in zip(found, wanted, strict=True):
                layer.compare(*pair)
            return
        rng = np.random.default_rng(_SEED + stage)
        for number in range(self.floats.batches):
            read = self.stored.get(number, _name(mine.inputs[0]))
            layer.observe(read, self.floats.get(number, _name(theirs.inputs[0])), rng)


def _name(value: ir.Value | None) -> str:
    assert value is not None
    return value.name or ""
