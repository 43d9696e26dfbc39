"""Weights and biases that replace a model's own: what refinement found, for a pass to apply."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bmopt.core.runner import Array


@dataclasses.dataclass(frozen=True)
class Replacement:
    """A constant that a node is to read.

    Attributes:
        node: The node's name.
        input: Index among its inputs; may be one behind its last.
        array: The constant.
    """

    node: str
    input: int
    array: Array


@dataclasses.dataclass(frozen=True)
class LayerFacts:
    """What refinement did to one product.

    Attributes:
        node: The product's name.
        steps: What was applied, for example ``("least-squares", "rounding", "bias", "scale")``.
        before_db: Signal to error of its output in dB with the weight rounded to nearest, on the
            activations that it was refined on.
        after_db: The same with what was found.
    """

    node: str
    steps: tuple[str, ...]
    before_db: float
    after_db: float


@dataclasses.dataclass(frozen=True)
class Corrections:
    """What refinement found for one model and plan.

    Attributes:
        model: Digest of the model it is for.
        replacements: New weights, which lie on the grid of their new scales, and new biases.
        scales: Product -> scales of its weight.
        biases: Product -> index of a bias input that it had not before.
        layers: What was done to each product, in graph order.
    """

    model: str
    replacements: tuple[Replacement, ...]
    scales: Mapping[str, tuple[float, ...]]
    biases: Mapping[str, int]
    layers: tuple[LayerFacts, ...]
