"""Cross-layer equalisation of weights, and what limits a factor.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.equalization import ChannelScaling
from bmopt.core.runner import Array
from bmopt.graph.channel_scales import grouped_view, is_shift, scalable_product
from bmopt.graph.scaling_chains import ScalingChain

_MOST_ROUNDS = 1000
_CONVERGED = 1e-5
_LEAST_CHANGE = 0.01
_EXTREME = 2.0**10
_REACHED = 1.0 - 1e-6
_DIGITS = 7


@dataclasses.dataclass(frozen=True)
class FactorLimits:
    """What the Clips of a chain let pass.

    Attributes:
        low: float64 ``[channels]``, the smallest factor of each; 1 where the bound is reached.
        high: The same for the largest one.
    """

    low: Array
    high: Array

    @classmethod
    def of(
        cls, chain: ScalingChain, highs: Mapping[str, Array], headroom: float = 1.0
    ) -> FactorLimits:
        """Return the limits of a chain.

        A channel that never reached a Clip's bound may grow until it nearly does: what was seen
        stays as it was, and what was not is cut where a range chosen from it would cut too. One
        that reached the bound keeps its size.

        Args:
            chain: The chain.
            highs: Output of a Clip -> float ``[channels]``, the largest value seen of each; a
                multiple of as many where several indices share a factor.
            headroom: How many times as large as the largest value seen may be what is not cut.
        """
        low, high = np.zeros(chain.channels), np.full(chain.channels, _EXTREME)
        for clip in chain.clips:
            runs = highs[clip.output.name or ""].astype(np.float64).reshape(chain.channels, -1)
            seen = np.maximum(runs.max(axis=1), 0.0)
            reached = seen >= clip.bound * _REACHED
            room = clip.bound / np.maximum(seen, clip.bound / _EXTREME)
            low = np.where(reached, 1.0, low)
            high = np.minimum(high, np.where(reached, 1.0, np.maximum(room / headroom, 1.0)))
        return cls(np.minimum(low, high), high)

    def clipped(self, factors: Array) -> Array:
        """Return ``factors`` with each moved into its limits."""
        return np.clip(factors, np.maximum(self.low, 1.0 / _EXTREME), self.high)

    def fitted(self, factors: Array) -> Array:
        """Return a multiple of ``factors`` that the limits change little, moved into them."""
        fixed = self.low == self.high
        if fixed.any():
            return self.clipped(factors / np.median(factors[fixed]))
        if (self.high < _EXTREME).any():
            return self.clipped(factors * np.min(self.high / factors))
        return self.clipped(factors / np.exp(np.mean(np.log(factors))))


def lacks_weights(chain: ScalingChain) -> str:
    """Return why weights alone say nothing about a chain, empty where they do."""
    for port in chain.writers:
        if scalable_product(port.node) is None and not is_shift(port.node):
            return f"{port.node.op_type} {port.node.name!r} writes it, which has no weights"
    return ""


def equalized_weights(
    chains: Sequence[ScalingChain], limits: Mapping[ir.Value, FactorLimits]
) -> list[Array]:
    """Return factors per chain with which weights have the same range on both sides of it.

    Chains are equalised in turn until nothing changes. A residual group has one factor vector;
    the largest range of its writers counts, and the largest of its readers.

    Args:
        chains: None of them ``lacks_weights``.
        limits: Tensor of a chain -> its limits; chains not in it have none.

    Returns:
        float64 ``[channels]`` each; all ones everywhere where no factor would be off by 1 %.
    """
    state = _Weights(chains)
    for _ in range(_MOST_ROUNDS):
        if max((state.equalize(c, limits.get(c.tensor)) for c in chains), default=0) < _CONVERGED:
            break
    off = max((float(np.abs(np.log(f)).max()) for f in state.factors), default=0.0)
    return state.factors if off > _LEAST_CHANGE else [np.ones(c.channels) for c in chains]


def scaling_of(chain: ScalingChain, factors: Array) -> ChannelScaling:
    """Return a chain with its factors (float64 ``[channels]``) as an entry of a plan."""
    return ChannelScaling(
        tensor=chain.tensor.name or "",
        axis=chain.axis,
        factors=tuple(float(f"{factor:.{_DIGITS}g}") for factor in factors),
        writers=tuple(port.node.name or "" for port in chain.writers),
        readers=tuple(port.node.name or "" for port in chain.readers),
    )


class _Weights:
    """The weights' magnitudes, and the factors so far."""

    def __init__(self, chains: Sequence[ScalingChain]) -> None:
        self.factors: list[Array] = [np.ones(chain.channels) for chain in chains]
        self._magnitudes: dict[ir.Node, Array] = {}
        self._before: dict[ir.Node, int] = {}
        self._behind: dict[ir.Node, int] = {}
        self._index = {chain.tensor: index for index, chain in enumerate(chains)}
        for index, chain in enumerate(chains):
            self._behind |= {port.node: index for port in chain.writers}
            self._before |= {port.node: index for port in chain.readers}
        for node in {**self._before, **self._behind}:
            product = scalable_product(node)
            if product is not None:
                view = grouped_view(product, np.abs(product.weight().astype(np.float64)))
                self._magnitudes[node] = view.max(axis=2)

    def equalize(self, chain: ScalingChain, limits: FactorLimits | None) -> float:
        """Equalise one chain and return the largest change of a factor's logarithm."""
        index = self._index[chain.tensor]
        written = self._largest([port.node for port in chain.writers], chain.channels, 1)
        read = self._largest([port.node for port in chain.readers], chain.channels, 2)
        alive = (written > 0.0) & (read > 0.0)
        change = np.where(
            alive, np.sqrt(np.where(alive, read, 1) / np.where(alive, written, 1)), 1
        )
        old = self.factors[index]
        new = np.clip(old * change, 1.0 / _EXTREME, _EXTREME)
        self.factors[index] = new if limits is None else limits.clipped(new)
        return float(np.abs(np.log(self.factors[index] / old)).max())

    def _largest(self, nodes: Sequence[ir.Node], channels: int, axis: int) -> Array:
        """Return the largest weight per channel: maximum over ``axis`` of the scaled ones."""
        found = np.zeros(channels)
        for node in nodes:
            if node in self._magnitudes:
                ranges = self._scaled(node).max(axis=axis).reshape(channels, -1).max(axis=1)
                found = np.maximum(found, ranges)
        return found

    def _scaled(self, node: ir.Node) -> Array:
        """Return magnitudes ``[groups, inputs, outputs]`` with the factors so far."""
        scaled = self._magnitudes[node]
        groups, inputs, outputs = scaled.shape
        if node in self._before:
            before = self.factors[self._before[node]]
            runs = np.repeat(before, groups * inputs // len(before))
            scaled = scaled / runs.reshape(groups, inputs, 1)
        if node in self._behind:
            behind = self.factors[self._behind[node]]
            runs = np.repeat(behind, groups * outputs // len(behind))
            scaled = scaled * runs.reshape(groups, 1, outputs)
        return scaled
