"""What a pass is."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

import onnx_ir as ir

from bmopt.optimizer.rewrite import share_names

Effect = Literal["exact", "lossy"]


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A rewrite that matched and was not made.

    Attributes:
        node: Name of the node that was left alone.
        reason: Why, as the end of a sentence that starts with the node's name.
    """

    node: str
    reason: str


@dataclasses.dataclass
class Outcome(ir.passes.PassResult):
    """``PassResult`` with the refusals and their reasons."""

    refusals: tuple[Refusal, ...] = ()


class Pass(ir.passes.InPlacePass):
    """A rewrite of a model.

    A subclass is a frozen dataclass whose fields are its options. Contract: valid model in,
    valid model out; ``modified`` is truthful; a second run changes nothing; every node it writes
    keeps ``bmopt.origin``; names of graph inputs and outputs never change, but for append-top-k.

    Attributes:
        name: The pass' name in a pipeline's text.
        effect: ``"exact"`` must not change results beyond float rounding (checked, rolled back
            if it does); ``"lossy"`` may, and is measured and reported.
    """

    name: ClassVar[str]
    effect: ClassVar[Effect] = "exact"

    def requires(self, model: ir.Model) -> None:
        """Let the pass ask for fresh names."""
        share_names(model)

    @abc.abstractmethod
    def call(self, model: ir.Model) -> Outcome:
        """Rewrite ``model`` in place."""
