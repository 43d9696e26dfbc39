"""One product that is made sparse: what is seen of it, and what it is to read instead."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from bmopt.calibration.pruning.normal_equations import Means, NormalEquations
from bmopt.calibration.pruning.readers import RowPicker
from bmopt.calibration.sequence.bias_home import BiasHome, bias_home
from bmopt.calibration.sparsity.compensation import compensated
from bmopt.calibration.sparsity.gradual import masked
from bmopt.calibration.sparsity.problem import ROUGHLY, Floats, Problem, refitted
from bmopt.core.corrections import LayerFacts, Replacement
from bmopt.core.runner import Array
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.products import Product
from bmopt.graph.summed import by_sum, from_sum

_DAMPINGS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@dataclasses.dataclass(frozen=True)
class SparseLayer:
    """What was found for one product.

    Attributes:
        facts: What was done to it: signal to error with small numbers dropped, and as it is now.
        replacements: The constants that it is to read.
    """

    facts: LayerFacts
    replacements: tuple[Replacement, ...]


class LayerEvidence:
    """Collects what a product reads in the sparse model and what it is to compute.

    Args:
        product: As ``calibration.pruning.readers.fittable`` returns it.
        batches: How many batches there will be.
        seed: Of the choice of rows.
    """

    def __init__(self, product: Product, batches: int, seed: int) -> None:
        self._product = product
        self._picker = RowPicker(product, batches)
        self._seeds = np.random.SeedSequence(seed)
        weight = by_sum(product, product.weight())
        self._taps = weight.shape[3]
        self._weight = weight.reshape(*weight.shape[:2], -1)
        groups, outputs, size = self._weight.shape
        self._sums = NormalEquations(groups, size, outputs)

    @property
    def size(self) -> int:
        """How many numbers each output is a sum of."""
        return int(self._weight.shape[2])

    def observe(self, read: Array, dense: Array, offset: Array | None) -> None:
        """Take in a batch.

        Args:
            read: What the product reads in the sparse model.
            dense: What it reads in the dense one.
            offset: What its output is to make up for besides, in the shape of that output.
        """
        (seed,) = self._seeds.spawn(1)
        wanted = () if offset is None else (offset,)
        x, *off = self._picker.pick(read, np.random.default_rng(seed), *wanted)
        t = self._picker.pick(dense, np.random.default_rng(seed))[0]
        y = t @ self._weight.swapaxes(1, 2).astype(np.float32)
        self._sums.add(x, y + off[0] if off else y)

    def sparse(self, pattern: SparsityPattern) -> SparseLayer:
        """Return the weight made sparse, and a bias that fits to it."""
        home = bias_home(self._product)
        weight = self._weight.astype(np.float64)
        means = self._sums.means(centred=home is not None)
        small = masked(Problem(weight, means.xx, self._taps), weight, pattern)
        damping = _best_damping(
            weight, small, self._sums.halves(centred=home is not None), self._taps
        )
        problem = Problem.of(weight, means.xx, means.yx, self._taps, damping=damping)
        found = compensated(problem, weight, pattern).astype(np.float32)
        facts = LayerFacts(
            self._product.node.name or "",
            ("compensated", *(["bias"] if home else [])),
            _sqnr_db(means, np.where(small, weight, 0.0)),
            _sqnr_db(means, found.astype(np.float64)),
        )
        return SparseLayer(facts, self._replacements(found, home, means))

    def _replacements(
        self, found: npt.NDArray[np.float32], home: BiasHome | None, means: Means
    ) -> tuple[Replacement, ...]:
        name = self._product.node.name or ""
        dtype = self._product.weight().dtype
        split = found.reshape(*found.shape[:2], -1, self._taps)
        weight = Replacement(name, 1, from_sum(self._product, split).astype(dtype))
        if home is None:
            return (weight,)
        moved = means.y - np.einsum("gok,gk->go", found.astype(np.float64), means.x)
        bias = (home.bias + moved.reshape(-1)).astype(dtype).reshape(home.shape)
        return (weight, Replacement(home.node.name or "", home.input, bias))


def _best_damping(
    weight: Floats, kept: npt.NDArray[np.bool_], halves: list[Means], taps: int
) -> float:
    """Return the damping whose fit to one half of the samples is best on the other.

    The error is taken to have one minimum: from the middle it is followed downwards.
    """
    if len(halves) < 2:
        return _DAMPINGS[-1]

    @functools.cache
    def crossed(place: int) -> float:
        total, damping = 0.0, _DAMPINGS[place]
        for mine, other in ((0, 1), (1, 0)):
            one = halves[mine]
            problem = Problem.of(weight, one.xx, one.yx, taps, damping=damping)
            fit = refitted(problem, weight, kept, close=ROUGHLY)
            total += _error(halves[other], fit)
        return total

    place = len(_DAMPINGS) // 2
    while True:
        near = [one for one in (place, place + 1, place - 1) if 0 <= one < len(_DAMPINGS)]
        best = min(near, key=crossed)
        if best == place:
            return _DAMPINGS[place]
        place = best


def _error(means: Means, weight: Floats) -> float:
    """Return the mean square of what a weight is off, summed over the outputs."""
    bent = np.vdot(weight, weight @ means.xx) - 2.0 * np.vdot(weight, means.yx)
    return float(means.yy.sum() + bent)


def _sqnr_db(means: Means, weight: Floats) -> float:
    signal, error = float(means.yy.sum()), _error(means, weight)
    if error <= 1e-12 * signal:
        return math.inf if signal > 0 else 0.0
    return 10 * math.log10(signal / error) if signal > 0 else -math.inf
