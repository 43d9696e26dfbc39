"""The pass ``prune-channels``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import onnx_ir as ir

from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PassError
from bmopt.graph.channels.cutting import Removed, cut, emptied
from bmopt.graph.channels.groups import Channels, Group, channels_of
from bmopt.graph.channels.norms import Norm, constants_of, weight_norms
from bmopt.graph.channels.owning import own_vectors
from bmopt.graph.channels.selecting import least
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.pass_base import Effect, Outcome, Pass, Refusal
from bmopt.optimizer.passes.drop_no_ops import DropNoOps
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.plan_files import plan_text
from bmopt.optimizer.rewrite import remove_unused_initializers

_APPLIED = "bmopt.pruned"


@dataclasses.dataclass(frozen=True)
class PruneChannels(Pass):
    """Cut channels out of the model: what is left is smaller, and an ordinary model.

    What goes together is a dependency group: see docs/pruning.md.

    1. Vectors that several nodes read, as biases of zero, become each one's own first.
    2. With a plan: what it says. Where it takes all channels of a residual branch, the branch goes
       with its Add, and what changes nothing any more as ``drop-no-ops`` has it.
    3. Without one: from every group that can be cut, ``ratio`` of the channels whose weights are
       smallest. A model that was cut so is not cut again.

    Refused without a plan: groups whose channels reach an output of the model, a node that
    channels do not pass, or one that reads several of them as one number.

    Attributes:
        plan: A plan (from Python) or the path of its file.
        ratio: How much of every group goes, above 0 and below 1.
        norm: ``"l1"`` or ``"l2"``: how the size of a channel's weights is measured.
        multiple: What is left of a group is a multiple of this, or all of it.
    """

    name: ClassVar[str] = "prune-channels"
    effect: ClassVar[Effect] = "lossy"

    plan: str | PrunePlan | None = None
    ratio: float = 0.0
    norm: str = "l1"
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.plan is None and not 0.0 < self.ratio < 1.0:
            raise PassError(
                f"{self.name}: give a plan, or a ratio above 0 and below 1, not {self.ratio:g}"
            )
        if self.norm not in ("l1", "l2"):
            raise PassError(f"{self.name}: unknown norm {self.norm!r}; valid are l1, l2")
        if self.multiple < 1:
            raise PassError(f"{self.name}: multiple is {self.multiple}; give 1 or more")

    def call(self, model: ir.Model) -> Outcome:
        """Cut constants of the main graph, and infer shapes anew.

        Raises:
            PassError: The plan's file cannot be read.
            PruningError: The plan is none, is for another model, or does not fit.
        """
        plan = _read(self.plan) if isinstance(self.plan, str) else self.plan
        key = str(self) if plan is None else plan.to_json()
        if model.metadata_props.get(_APPLIED) == _digest(key):
            return Outcome(model, modified=False)
        is_changed = own_vectors(model)
        if plan is not None:
            plan.require_model(model_digest(model))
        InferShapes()(model)
        channels = channels_of(model)
        removed = self._chosen(model, channels) if plan is None else plan.removed
        refusals = tuple(
            Refusal(group.name, group.reason) for group in channels.groups if group.reason
        )
        modified = any(removed.values())
        if modified:
            _cut(model, channels, removed)
            model.metadata_props[_APPLIED] = _digest(key)
        return Outcome(
            model, modified=modified or is_changed, refusals=() if plan is not None else refusals
        )

    def _chosen(self, model: ir.Model, channels: Channels) -> Mapping[str, tuple[int, ...]]:
        constants = constants_of(model)
        norm: Norm = "l1" if self.norm == "l1" else "l2"
        return {
            group.name: least(group, weight_norms(constants, group, norm), self._count(group))
            for group in channels.groups
            if not group.reason
        }

    def _count(self, group: Group) -> int:
        """Return how many channels of a group go."""
        left = group.size - int(group.size * self.ratio + 1e-9)
        left = -(-left // self.multiple) * self.multiple
        return max(0, group.size - left)


def _cut(model: ir.Model, channels: Channels, removed: Removed) -> None:
    has_branches = bool(emptied(channels, removed))
    cut(model, channels, removed)
    if has_branches:
        DropNoOps()(model)
    remove_unused_initializers(model)
    InferShapes()(model)


def _read(path: str) -> PrunePlan:
    return PrunePlan.from_json(plan_text(PruneChannels.name, path), source=path)


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]
