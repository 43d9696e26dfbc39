"""Decide how to scale the channels of activations before calibration: the equalisation plan.

Sources: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction"; Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.equalize_rows import (
    MOST_ROWS,
    ChannelRows,
    rows_of_ranges,
    sample_rows,
)
from bmopt.calibration.equalize_search import STRENGTHS, Read, search_scaling
from bmopt.core.dataset import Dataset
from bmopt.core.equalization import ChannelScaling, EqualizationPlan
from bmopt.core.ranges import RangeTable
from bmopt.core.runner import Array, OpenModel
from bmopt.core.scheme import Scheme
from bmopt.graph.channel_scales import grouped_view, scalable_product
from bmopt.graph.cross_layer import (
    FactorLimits,
    equalized_weights,
    lacks_weights,
    scaling_of,
)
from bmopt.graph.scaling_chains import ScalingChain, scaling_chains
from bmopt.graph.values import constant_tensor

_ROWS_BYTES = 256 << 20
_MOST_MULTIPLY_ADDS = 1 << 33
_LEAST_ROWS = 256
_HEADROOM_OF_SAMPLES = 1.5
_HEADROOM_OF_TABLE = 2.0
"""Larger, because made-up rows do not tell how far values go that were not seen."""

_NO_GAIN = "no scaling gives a smaller error"
_ONE_SCALE = "the weights that write it share one scale, which would have to span the factors"
_NO_READER = "no reader of it runs in 8 bits"
_NO_RANGES = "the range table has no ranges of its channels"

Evidence = Mapping[str, ChannelRows]


def channels_to_watch(graph: ir.Graph) -> dict[str, int]:
    """Return tensor -> channel axis of all whose ranges ``plan_cross_layer`` can use.

    This is what ``collect_ranges`` takes as ``channels``.
    """
    return {
        name: axis
        for chain in scaling_chains(graph).found
        for name, axis in _tensors(chain).items()
    }


def plan_cross_layer(
    model: ir.Model, scheme: Scheme, table: RangeTable | None, model_digest: str
) -> EqualizationPlan:
    """Plan scalings from weights and, where there is a table, ranges of channels.

    Weights with one scale per tensor get the same range on both sides of an activation. Weights
    with a scale per output channel need no such thing: there the channels of the activation get
    more even ranges, as far as the readers' weights allow; a depthwise reader allows everything.

    Args:
        model: After ``simplify``; is not changed.
        scheme: How weights and activations will be stored.
        table: Ranges, with those of the channels in ``channels_to_watch``. Without it nothing is
            known of activations: only weights are equalised, and only where no Clip bounds them.
        model_digest: Digest of ``model``.

    Raises:
        CalibrationError: The table is of another model.
    """
    if table is not None:
        table.require_model(model_digest)
    chains = scaling_chains(model.graph)
    plan = _Plan(scheme, dict(chains.refused), _HEADROOM_OF_TABLE)
    evidence = _evidence_of(chains.found, table)
    if table is None or not scheme.weight.per_channel:
        plan.equalize_weights(chains.found, evidence)
    else:
        for chain in chains.found:
            plan.search(chain, evidence)
    return plan.result(model_digest)


def plan_smoothing(
    model: ir.Model,
    scheme: Scheme,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    batch_size: int,
    model_digest: str,
    strengths: Sequence[float] = STRENGTHS,
    progress: Callable[[int, int], None] | None = None,
) -> EqualizationPlan:
    """Plan scalings by quantising samples of every activation that can be scaled.

    Memory is bounded: activations are sampled in groups whose rows take at most 256 MB, each
    group with one run over at most 64 samples.

    Args:
        model: After ``simplify``; is not changed.
        scheme: How weights and activations will be stored.
        dataset: Calibration samples.
        open_model: Opens the model with its activations shown.
        batch_size: Samples per inference.
        model_digest: Digest of ``model``.
        strengths: As for ``search_scaling``.
        progress: Called with the activations done and their number.

    Raises:
        DataError: There are no samples.
        CalibrationError: An activation became NaN or infinite.
    """
    chains = scaling_chains(model.graph)
    plan = _Plan(scheme, dict(chains.refused), _HEADROOM_OF_SAMPLES, strengths)
    done, wanted = 0, [chain for chain in chains.found if plan.wants(chain)]
    for group in _groups(wanted):
        axes = {name: axis for chain in group for name, axis in _tensors(chain).items()}
        rows = sample_rows(model, axes, dataset, open_model, batch_size=batch_size)
        for chain in group:
            plan.search(chain, rows)
            done += 1
            if progress is not None:
                progress(done, len(wanted))
    return plan.result(model_digest)


class _Plan:
    """A plan in the making."""

    def __init__(
        self,
        scheme: Scheme,
        refused: dict[str, str],
        headroom: float,
        strengths: Sequence[float] = STRENGTHS,
    ) -> None:
        self._scheme = scheme
        self._refused = refused
        self._headroom = headroom
        self._strengths = strengths
        self._scalings: list[ChannelScaling] = []

    def result(self, model_digest: str) -> EqualizationPlan:
        return EqualizationPlan(model_digest, tuple(self._scalings), self._refused)

    def wants(self, chain: ScalingChain) -> bool:
        """Whether a search can tell how to scale a chain; otherwise the reason is kept."""
        reason = ""
        if not any(port.node.op_type in self._scheme.products for port in chain.readers):
            reason = _NO_READER
        elif not self._scheme.weight.per_channel and any(
            scalable_product(port.node) is not None for port in chain.writers
        ):
            reason = _ONE_SCALE
        return self._is_free(chain, reason)

    def search(self, chain: ScalingChain, evidence: Evidence) -> None:
        """Scale a chain as far as that makes the errors of its readers smaller."""
        missing = not set(_tensors(chain)) <= set(evidence)
        if not self._is_free(chain, _NO_RANGES if missing else "") or not self.wants(chain):
            return
        reads = [
            _read(port.node, evidence[_data_name(port.node)])
            for port in chain.readers
            if port.node.op_type in self._scheme.products
        ]
        found = search_scaling(
            reads,
            self._scheme.activation,
            self._scheme.weight,
            limits=self._limits(chain, evidence),
            strengths=self._strengths,
            headroom=self._headroom,
        )
        if self._is_free(chain, "" if np.any(found.factors != 1.0) else _NO_GAIN):
            self._scalings.append(scaling_of(chain, found.factors))

    def equalize_weights(self, chains: Sequence[ScalingChain], evidence: Evidence) -> None:
        """Give weights the same ranges on both sides of every chain that has weights there."""
        usable, limits = [], {}
        for chain in chains:
            known = all((clip.output.name or "") in evidence for clip in chain.clips)
            if self._is_free(chain, lacks_weights(chain) or ("" if known else _NO_RANGES)):
                usable.append(chain)
                limits[chain.tensor] = self._limits(chain, evidence)
        found = equalized_weights(usable, limits)
        for chain, factors in zip(usable, found, strict=True):
            if self._is_free(chain, "" if np.any(factors != 1.0) else _NO_GAIN):
                self._scalings.append(scaling_of(chain, factors))

    def _limits(self, chain: ScalingChain, evidence: Evidence) -> FactorLimits:
        highs = {name: rows.high for name, rows in evidence.items()}
        return FactorLimits.of(chain, highs, self._headroom)

    def _is_free(self, chain: ScalingChain, reason: str) -> bool:
        if reason:
            self._refused[chain.tensor.name or ""] = reason
        return not reason


def _tensors(chain: ScalingChain) -> dict[str, int]:
    """Return the tensors of a chain whose channels must be known, and their channel axes."""
    read = {_data_name(port.node): port.axis for port in chain.readers}
    return read | {clip.output.name or "": clip.axis for clip in chain.clips}


def _data_name(node: ir.Node) -> str:
    """Return the name of what a reader reads besides constants."""
    value = next(v for v in node.inputs if v is not None and constant_tensor(v) is None)
    return value.name or ""


def _read(node: ir.Node, seen: ChannelRows) -> Read:
    product = scalable_product(node)
    assert product is not None
    weight: Array = grouped_view(product, product.weight().astype(np.float32))
    most = max(_LEAST_ROWS, min(MOST_ROWS, _MOST_MULTIPLY_ADDS // max(weight.size, 1)))
    step = -(-sum(len(fold.rows) for fold in seen.folds) // most)
    folds = tuple(dataclasses.replace(f, rows=f.rows[::step]) for f in seen.folds)
    return Read(folds, weight)


def _evidence_of(chains: Sequence[ScalingChain], table: RangeTable | None) -> Evidence:
    found: dict[str, ChannelRows] = {}
    for chain in chains if table is not None else ():
        assert table is not None
        for name, axis in _tensors(chain).items():
            entry = table.tensors.get(name)
            channels = None if entry is None else entry.channels
            if channels is not None and channels.axis == axis:
                found[name] = rows_of_ranges(channels)
    return found


def _groups(chains: Sequence[ScalingChain]) -> Iterator[list[ScalingChain]]:
    """Yield chains in groups whose rows fit the budget."""
    group: list[ScalingChain] = []
    size = 0
    for chain in chains:
        wide = max(chain.channels, _widest(chain))
        rows = MOST_ROWS * wide * np.dtype(np.float32).itemsize * len(_tensors(chain))
        if group and size + rows > _ROWS_BYTES:
            yield group
            group, size = [], 0
        group.append(chain)
        size += rows
    if group:
        yield group


def _widest(chain: ScalingChain) -> int:
    """Return the most inputs that a reader of a chain has."""
    views = [scalable_product(port.node) for port in chain.readers]
    return max((p.groups * p.shape[1 - p.axis] for p in views if p is not None), default=1)
