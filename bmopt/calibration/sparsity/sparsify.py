"""Make the weights of a model sparse, product after product.

Every product is fitted on what the sparse ones before it give it, against what the dense model
computes there, so that it makes up for their errors as well as for its own zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import onnx_ir as ir

from bmopt.calibration.pruning.readers import fittable
from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stages import stages_of
from bmopt.calibration.sequence.stream import Stream, feed_first
from bmopt.calibration.sparsity.layer import LayerEvidence, SparseLayer
from bmopt.calibration.sparsity.residual import residual_of
from bmopt.core.corrections import Corrections, Replacement
from bmopt.core.dataset import Dataset
from bmopt.core.runner import Array, OpenModel
from bmopt.graph.model_digest import model_digest
from bmopt.graph.products import Product
from bmopt.graph.sparsity_rules import SparsityRules, products_in

DEFAULT_SAMPLES = 1024
_SEED = 20_230_102


@dataclasses.dataclass(frozen=True)
class SparsifyOptions:
    """How a model is made sparse on samples.

    Attributes:
        samples: Samples to use at most: the first ones.
        batch_size: Samples per inference.
        on_sparse: A product is fitted on what the sparse ones before it give it; otherwise on
            what it reads in the dense model.
        mends_sums: A product whose output is added to another one makes up for what is off there.
    """

    samples: int = DEFAULT_SAMPLES
    batch_size: int = 16
    on_sparse: bool = True
    mends_sums: bool = True


@dataclasses.dataclass(frozen=True)
class Sparsified:
    """What was found for a model.

    Attributes:
        corrections: Weights and biases for the pass correct-weights; its ``layers`` have the
            signal to error of every product with small weights dropped, and as it is now.
        dropped: Products whose small weights are dropped, as they cannot be fitted.
        refused: Product -> why it stays dense, as the end of a sentence.
    """

    corrections: Corrections
    dropped: tuple[str, ...]
    refused: Mapping[str, str]


def sparsify_model(
    model: ir.Model,
    dataset: Dataset,
    open_model: OpenModel,
    rules: SparsityRules,
    *,
    options: SparsifyOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sparsified:
    """Return weights with zeros, in which those that stay make up for those that go.

    Args:
        model: A float model; is not changed.
        dataset: The calibration samples.
        open_model: Opens parts of the model; what its runners return is kept.
        rules: Where zeros are to be; nodes of the main graph only.
        options: How.
        progress: Called with the products done and the products in all.

    Raises:
        DataError: There are no samples, or they do not fit.
        CalibrationError: Something between the products is no tensor.
    """
    wish = options or SparsifyOptions()
    refused: dict[str, str] = {}
    fitted: list[Product] = []
    dropped: list[Product] = []
    for product in products_in(model.graph, rules):
        reason = rules.refusal(product)
        if reason:
            refused[product.node.name or ""] = reason
        else:
            (dropped if fittable(product.node) is None else fitted).append(product)
    small = [Replacement(p.node.name or "", 1, rules.magnitude(p)) for p in dropped]
    with Shelf() as shelf:
        walk = _Walk(model, fitted, open_model, shelf, wish)
        for one in small:
            walk.sparse.replace(one)
        if fitted:
            feed_first([walk.dense, walk.sparse], dataset, wish.batch_size, wish.samples)
        layers = list(walk.layers(rules, progress or _silent))
    corrections = Corrections(
        model=model_digest(model),
        replacements=(*small, *(r for layer in layers for r in layer.replacements)),
        scales={},
        biases={r.node: r.input for layer in layers for r in layer.replacements[1:]},
        layers=tuple(layer.facts for layer in layers),
    )
    return Sparsified(corrections, tuple(p.node.name or "" for p in dropped), refused)


class _Walk:
    """The samples on their way through the dense and the sparse model."""

    def __init__(
        self,
        model: ir.Model,
        products: list[Product],
        open_model: OpenModel,
        shelf: Shelf,
        options: SparsifyOptions,
    ) -> None:
        self._sums = [
            residual_of(p.node.outputs[0]) if options.mends_sums else None for p in products
        ]
        names = _cuts(model, products, [one.node for one in self._sums if one is not None])
        self.dense = Stream(model, names, open_model, shelf, tag="dense", before=True)
        self.sparse = Stream(model, names, open_model, shelf, tag="sparse", before=True)
        self._products = products
        self._options = options
        stages = stages_of(model.graph, names, before=True)
        self._made = {
            value.name: stage
            for stage, nodes in enumerate(stages)
            for node in nodes
            for value in node.outputs
        }

    def layers(
        self, rules: SparsityRules, progress: Callable[[int, int], None]
    ) -> Iterator[SparseLayer]:
        """Yield what is found for product after product, which reads it from then on."""
        for stage, product in enumerate(self._products):
            evidence = LayerEvidence(product, self.dense.batches, _SEED + stage)
            self.dense.pass_on(stage)
            self.sparse.pass_on(stage)
            with threads_for(evidence.size):
                self._show(stage, product, evidence)
                found = evidence.sparse(rules.pattern)
            for one in found.replacements:
                self.sparse.replace(one)
            progress(stage + 1, len(self._products))
            yield found

    def _show(self, stage: int, product: Product, evidence: LayerEvidence) -> None:
        data = product.node.inputs[0]
        assert data is not None
        name = data.name or ""
        reads = self.sparse if self._options.on_sparse else self.dense
        for number, offset in enumerate(self._offsets(stage)):
            evidence.observe(reads.get(number, name), self.dense.get(number, name), offset)

    def _offsets(self, stage: int) -> Iterator[Array | None]:
        """Yield of every batch by how much what the output is added to is off."""
        found = self._sums[stage]
        made = -1 if found is None else self._made.get(found.other.name, -1)
        if found is None or made > stage + 1:
            # It is not computed yet, and will make up for this product's error itself.
            yield from [None] * self.dense.batches
            return
        name = found.other.name or ""
        pairs = zip(
            self._values(self.dense, stage, name, made),
            self._values(self.sparse, stage, name, made),
            strict=True,
        )
        for dense, sparse in pairs:
            yield dense - sparse

    def _values(self, stream: Stream, stage: int, name: str, made: int) -> Iterator[Array]:
        if made == stage + 1:
            return stream.peek(made, name)
        return (stream.get(number, name) for number in range(stream.batches))


def _cuts(model: ir.Model, products: list[Product], sums: list[ir.Node]) -> list[str]:
    """Return the products, and the last sum where it is behind them all: it has to be seen."""
    nodes = [product.node for product in products]
    wanted = set(nodes) | set(sums)
    last = [node for node in model.graph if node in wanted][-1:]
    return [node.name or "" for node in (*nodes, *(one for one in last if one not in nodes))]


def _silent(done: int, total: int) -> None:
    pass
