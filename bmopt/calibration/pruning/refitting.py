"""One product of a pruned model that is fitted to what the original one computes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.pruning.batch_norm import ChannelMoments, estimated
from bmopt.calibration.pruning.fitting import Fit, fitted
from bmopt.calibration.pruning.normal_equations import NormalEquations
from bmopt.calibration.pruning.readers import RowPicker, fittable
from bmopt.calibration.pruning.targets import Beside
from bmopt.calibration.sequence.bias_home import bias_home, own_bias
from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.rows import weight_from_matrix, weight_matrix
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.corrections import LayerFacts, Replacement
from bmopt.core.runner import Array
from bmopt.graph.products import Product, product_of

Floats = npt.NDArray[np.float64]

_SEED = 20_171_022
_MOST_DB = 200.0
_NOISE = 1e-6
"""An error of this share of the mean square may be that of sums in float32: it is left alone."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A node of the pruned model that gets other constants.

    Attributes:
        original: The node in the original.
        pruned: The same in the pruned model.
        stays: Which of the original's channels are left behind it; None for all.
        beside: What its output is added to, whose error it makes up for.
    """

    original: ir.Node
    pruned: ir.Node
    stays: npt.NDArray[np.bool_] | None
    beside: Beside = dataclasses.field(default_factory=Beside)

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.pruned.name or ""

    @property
    def data(self) -> str:
        """Name of what it reads."""
        value = self.pruned.inputs[0]
        assert value is not None
        return value.name or ""

    @property
    def axis(self) -> int:
        """Where its output has its channels."""
        return 1 if self.pruned.op_type in ("Conv", "ConvTranspose") else -1

    def left(self, array: Array, axis: int) -> Array:
        """Return the channels of one of the original's tensors that are left."""
        return array if self.stays is None else np.compress(self.stays, array, axis)


@dataclasses.dataclass(frozen=True)
class Refitted:
    """What was found for one node.

    Attributes:
        facts: What was done.
        replacements: The constants that it is to read, and the Add that adds its bias.
    """

    facts: LayerFacts
    replacements: tuple[Replacement, ...]


def refitted(
    place: Place, original: Stream, pruned: Stream, stage: int, *, rows: float = 1.0
) -> Refitted:
    """Bring samples to a node and fit it; the pruned samples find what is found from then on.

    Args:
        place: The node.
        original: Samples in the original, ``stage`` stages behind them.
        pruned: The same in the pruned model.
        stage: The stage that ends before the node.
        rows: How many rows are looked at, as a part of what gives the best fit.
    """
    # One after the other, so that an engine's threads are not in the way of the next one's.
    original.pass_on(stage)
    pruned.pass_on(stage)
    if product_of(place.pruned) is None:
        found = _normalised(place, original, pruned)
    else:
        found = _refitted(place, original, pruned, stage, rows)
    for replacement in found.replacements:
        pruned.replace(replacement)
    return found


def _normalised(place: Place, original: Stream, pruned: Stream) -> Refitted:
    name = place.original.inputs[0]
    assert name is not None
    before = ChannelMoments(
        place.left(original.get(number, name.name or ""), 1) for number in range(original.batches)
    )
    now = ChannelMoments(pruned.get(number, place.data) for number in range(pruned.batches))
    facts = LayerFacts(place.name, ("statistics",), 0.0, 0.0)
    return Refitted(facts, tuple(estimated(place.pruned, before, now)))


def _refitted(place: Place, original: Stream, pruned: Stream, stage: int, rows: float) -> Refitted:
    product = fittable(place.pruned)
    if product is None:
        return _shifted(place, original, pruned, stage)
    picker = RowPicker(product, pruned.batches, rows)
    sums = NormalEquations(picker.groups, picker.size, picker.outputs)
    rng = np.random.default_rng(_SEED + stage)
    home, own = bias_home(product), own_bias(product)
    assert own is not None
    with threads_for(picker.size):
        for number, wanted in enumerate(_targets(place, original, pruned, stage)):
            sums.add(*picker.pick(pruned.get(number, place.data), rng, wanted))
        centred = home is not None
        weight = weight_matrix(product, product.weight()).astype(np.float64)
        fit = fitted(weight, sums.means(centred=centred), sums.halves(centred=centred))
    means = sums.means(centred=False)
    kept = (means.y - np.einsum("gok,gk->go", weight, means.x)).reshape(-1) - own
    if fit.before + float(kept @ kept) <= _NOISE * float(means.yy.sum()):
        exact = _decibels(fit.signal, fit.before)
        return Refitted(LayerFacts(place.name, (), exact, exact), ())
    offset = (means.y - np.einsum("gok,gk->go", fit.weight, means.x)).reshape(-1) - own
    found = []
    if fit.is_new:
        array = weight_from_matrix(product, fit.weight.astype(product.weight().dtype))
        found.append(Replacement(place.name, 1, array))
    found += _biased(product, offset)
    return Refitted(_facts(place, fit, has_bias=home is not None), tuple(found))


def _targets(place: Place, original: Stream, pruned: Stream, stage: int) -> Iterator[Array]:
    """Yield what the product is to compute, batch by batch."""
    output = place.original.outputs[0].name or ""
    for number, computed in enumerate(original.peek(stage + 1, output)):
        wanted = place.left(computed, place.axis)
        beside = place.beside
        if beside.original is not None:
            wanted = wanted + place.left(original.get(number, beside.original), place.axis)
        if beside.pruned is not None:
            wanted = wanted - pruned.get(number, beside.pruned)
        yield wanted


def _shifted(place: Place, original: Stream, pruned: Stream, stage: int) -> Refitted:
    """Return a bias that puts the means of the output right, for a product that is not fitted."""
    product = product_of(place.pruned)
    assert product is not None
    output = place.pruned.outputs[0].name or ""
    total: Floats = np.zeros(1)
    count = 0
    for wanted, computed in zip(
        _targets(place, original, pruned, stage), pruned.peek(stage + 1, output), strict=True
    ):
        rows = np.moveaxis(wanted - computed, place.axis, -1).reshape(-1, product.channels)
        total = total + rows.sum(0, dtype=np.float64)
        count += len(rows)
    found = _biased(product, total / max(count, 1))
    return Refitted(LayerFacts(place.name, ("bias",) if found else (), 0.0, 0.0), tuple(found))


def _biased(product: Product, offset: Floats) -> list[Replacement]:
    """Return the product's bias with ``offset`` added; none where it can have none."""
    home = bias_home(product)
    if home is None:
        return []
    bias = (home.bias + offset).astype(product.weight().dtype).reshape(home.shape)
    return [Replacement(home.node.name or "", home.input, bias)]


def _facts(place: Place, fit: Fit, *, has_bias: bool) -> LayerFacts:
    steps = [name for name, done in (("least-squares", fit.is_new), ("bias", has_bias)) if done]
    before, after = (_decibels(fit.signal, error) for error in (fit.before, fit.after))
    return LayerFacts(place.name, tuple(steps), before, after)


def _decibels(signal: float, error: float) -> float:
    if signal <= 0.0 or error <= signal * 10 ** (-_MOST_DB / 10):
        return _MOST_DB
    return 10.0 * math.log10(signal / error)
