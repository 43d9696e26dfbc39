"""One product that is refined: what is seen of it, and the constants that it is to have."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.sequence.bias_home import bias_home, own_bias
from bmopt.calibration.sequence.evidence import RowEvidence
from bmopt.calibration.sequence.grid import on_grid, regridded
from bmopt.calibration.sequence.likeness import ChannelFit
from bmopt.calibration.sequence.reweighing import Weighed, reweighed
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.calibration.sequence.storage import Storage
from bmopt.core.corrections import LayerFacts, Replacement
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.graph.products import Product, product_of

Floats = npt.NDArray[np.float64]

_MOST_INPUTS = 4096
"""Moments of this many inputs take a gigabyte, and four times that of twice as many: a product of
more is left to what its outputs tell, bias and gain."""


@dataclasses.dataclass(frozen=True)
class Refined:
    """What was found for one product.

    Attributes:
        facts: What was done to it.
        replacements: The constants that it is to read, and the Add that adds its bias.
        scales: Of its weight.
        new_bias: Index of a bias input that it had not before, None where it gets none.
    """

    facts: LayerFacts
    replacements: tuple[Replacement, ...]
    scales: tuple[float, ...]
    new_bias: int | None


class Layer:
    """Collects what one product's refinement needs.

    Args:
        product: The product in the float model.
        storage: How its constants are stored.
        steps: What is to be done.
        batches: How many batches there will be.
    """

    def __init__(
        self, product: Product, storage: Storage, steps: RefineSteps, batches: int
    ) -> None:
        self._product = product
        self._storage = storage
        self._steps = steps
        self._home = bias_home(product) if steps.bias else None
        self._weight = product.weight().astype(np.float32)
        self._rows: RowEvidence | None = None
        if is_matrix(product) and self.size <= _MOST_INPUTS:
            self._rows = RowEvidence(product, self._weight, batches)
        axis = 1 if product.node.op_type in ("Conv", "ConvTranspose") else -1
        groups = product.groups if product.node.op_type == "ConvTranspose" else 1
        self._outputs = ChannelFit(axis, product.channels * groups)

    @property
    def wants_outputs(self) -> bool:
        """Whether the product's outputs have to be compared, as its inputs do not tell all."""
        return self._rows is None

    @property
    def size(self) -> int:
        """How many numbers each output is a sum of."""
        return self._weight.size // max(self._product.channels, 1)

    def observe(self, read: Array, wanted: Array, rng: np.random.Generator) -> None:
        """Take in a batch of what the quantised product reads and what the float one reads."""
        if self._rows is not None:
            self._rows.observe(read, wanted, rng)

    def compare(self, found: Array, wanted: Array) -> None:
        """Take in a batch of what both compute, the weight rounded to nearest."""
        self._outputs.add(wanted, found)

    def refined(self) -> Refined:
        """Return what is found for the product."""
        quant = self._storage.weight
        nearest = on_grid(self._weight, quant)
        weighed = self._reweighed() or Weighed(nearest, np.array(quant.scales), ())
        before, fit = self._fit(nearest), self._fit(weighed.array)
        gain, offset = self._correction(fit)
        facts = LayerFacts(
            self._product.node.name or "",
            self._done(weighed, gain),
            before.sqnr_db(),
            fit.sqnr_db(gain, offset),
        )
        bias = self._bias(gain, offset)
        in_product = self._home is not None and self._home.in_product
        wanted = weighed.scales * gain if quant.axis is not None else weighed.scales
        scales = self._storage.scales(wanted, bias if in_product else np.zeros_like(bias))
        factor = gain if quant.axis is not None else np.ones(1)
        array = regridded(weighed.array, quant, factor, scales)
        return Refined(
            facts=facts,
            replacements=self._replacements(array, bias),
            scales=tuple(float(scale) for scale in scales),
            new_bias=2 if in_product and self._product.bias is None else None,
        )

    def _reweighed(self) -> Weighed | None:
        if self._rows is None or self._storage.weight.dtype == "float8e4m3fn":
            return None
        bias = None if self._home is None else self._home.bias
        return reweighed(self._product, self._storage, self._steps, self._rows, bias)

    def _fit(self, weight: Array) -> ChannelFit:
        if self._rows is None:
            return self._outputs
        return self._rows.fit(weight, own_bias(self._product))

    def _correction(self, fit: ChannelFit) -> tuple[Floats, Floats]:
        """Return gain and offset of every output channel, or one of each for all.

        Without a bias to take the mean's part there is no gain either: it would move the mean.
        """
        if self._home is None:
            return np.ones(1), np.zeros(1)
        has_gain = self._steps.gain and self._storage.weight.axis is not None
        gain = fit.gain() if has_gain else np.ones(self._product.channels)
        return gain, fit.offset(gain)

    def _bias(self, gain: Floats, offset: Floats) -> Floats:
        """Return the new bias; the one that there is is part of what gain and offset fit."""
        if self._home is None:
            return np.zeros(self._product.channels)
        return self._home.bias * (gain if self._home.in_product else 1.0) + offset

    def _replacements(self, weight: Array, bias: Floats) -> tuple[Replacement, ...]:
        name, home = self._product.node.name or "", self._home
        found = [Replacement(name, self._storage.weight.input, weight)]
        if home is not None:
            stored = bias.astype(np.float32).reshape(home.shape)
            found.append(Replacement(home.node.name or "", home.input, stored))
        return tuple(found)

    def _done(self, weighed: Weighed, gain: Floats) -> tuple[str, ...]:
        if self._home is None:
            return weighed.steps
        return (*weighed.steps, "bias", *(["gain"] if np.any(gain != 1.0) else []))


def is_matrix(product: Product) -> bool:
    """Whether the product is a matrix times rows of its input, as ``Rows`` picks them."""
    node = product.node
    if own_bias(product) is None:
        return False
    if node.op_type == "Conv":
        return True
    if node.op_type == "MatMul":
        return len(product.shape) == 2
    get = node.attributes.get_float
    plain = get("alpha", 1.0) == 1.0 and get("beta", 1.0) == 1.0
    return node.op_type == "Gemm" and plain and not node.attributes.get_int("transA", 0)


def refinable(model: ir.Model, plan: QuantPlan) -> dict[ir.Node, Product]:
    """Return the products of ``plan``, in graph order, by their nodes.

    Those by a vector are left out: they have no output channels.
    """
    found = {}
    for node in model.graph:
        product = product_of(node) if (node.name or "") in plan.weights else None
        if product is not None and len(product.shape) >= 2:
            found[node] = product
    return found
