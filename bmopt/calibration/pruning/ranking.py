"""Which channels of each group go first, and what the model loses at some widths of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.pruning.importance import Importance, importance_of
from bmopt.calibration.pruning.moments import Scout
from bmopt.calibration.pruning.readers import readers_of
from bmopt.calibration.pruning.sensitivity import Judge, trial
from bmopt.calibration.pruning.settling import Settler
from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.corrections import Replacement
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.prune_plan import PrunePlan
from bmopt.core.runner import OpenModel
from bmopt.errors import DataError, PruningError
from bmopt.graph.channels.groups import Channels, Group
from bmopt.graph.channels.norms import constants_of
from bmopt.graph.model_digest import model_digest
from bmopt.graph.pieces import is_constant_node

_LEAST_SHARE = 0.125
"""Of a group that much stays at least: below, losses do not tell what comes of it."""
_SETTLED = 128
"""Samples that products behind a group's readers are fitted on, at most."""


@dataclasses.dataclass(frozen=True)
class RankOptions:
    """How channels are ranked and what is measured.

    Attributes:
        importance: How the channels of a group are ranked.
        keep: Groups that stay whole.
        widths: At how many widths of a group the loss is measured.
        samples: Samples that readers are fitted on, at most.
        probes: Further samples that losses are measured on, at most.
        settle: How many products behind the readers are fitted, too, before a loss is measured;
            at two widths of every group, which tell how much that helps at the others.
        batch_size: Samples per inference.
    """

    importance: Importance = "second-order"
    keep: Collection[str] = ()
    widths: int = 7
    samples: int = 512
    probes: int = 256
    settle: int = 8
    batch_size: int = 32


@dataclasses.dataclass(frozen=True)
class Level:
    """One width of a group.

    Attributes:
        kept: How many channels stay.
        loss: Squared error of the outputs over their variance if this group alone is cut so far,
            and its readers and some of what is behind them are fitted.
    """

    kept: int
    loss: float


@dataclasses.dataclass(frozen=True)
class RankedGroup:
    """What is known of a group.

    Attributes:
        name: The group.
        size: Its channels.
        reason: Why it stays whole; empty where it can be cut.
        order: Its channels, the first to go first; empty where it stays whole.
        losses: Measured widths, all of it first; empty where it stays whole.
    """

    name: str
    size: int
    reason: str
    order: tuple[int, ...] = ()
    losses: tuple[Level, ...] = ()

    @property
    def is_branch(self) -> bool:
        """Whether all of its channels may go."""
        return bool(self.losses) and self.losses[-1].kept == 0


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What is known of all groups before there is a budget, so that many can be tried.

    Attributes:
        model: Digest of the model.
        groups: Every group.
    """

    model: str
    groups: tuple[RankedGroup, ...]

    def plan(self, kept: Mapping[str, int]) -> PrunePlan:
        """Return the plan with which of each group so many channels stay; all where none is said.

        Raises:
            PruningError: A group that stays whole is to lose channels, or one that is not a
                branch is to lose all.
        """
        removed = {}
        for group in self.groups:
            count = group.size - kept.get(group.name, group.size)
            if count > max(0, len(group.order) - (0 if group.is_branch else 1)):
                raise PruningError(f"group {group.name!r} cannot lose {count} channels")
            if count:
                removed[group.name] = tuple(sorted(group.order[:count]))
        return PrunePlan(self.model, removed, {group.name: group.size for group in self.groups})


def rank_channels(
    model: ir.Model,
    channels: Channels,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    options: RankOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """Rank the channels of every group and measure what the outputs lose at some widths.

    One group after the other is cut, its readers fitted to what they computed before, and the
    outputs compared on other samples. Nothing is kept of a group but its order and losses.

    Args:
        model: The model; is not changed.
        channels: Its dependency groups.
        dataset: The calibration samples.
        open_model: Opens parts of the model; what its runners return is kept.
        options: How.
        progress: Called with the groups measured and the groups in all.

    Raises:
        PruningError: No group can lose channels.
        DataError: There are no samples, or they do not fit.
    """
    options = options or RankOptions()
    groups = _cuttable(model, channels, options.keep)
    found = {}
    with Shelf() as shelf:
        walk = _Walk(model, groups, open_model, shelf, options)
        walk.feed(dataset)
        for done, ranked in enumerate(walk.ranked()):
            found[ranked.name] = ranked
            if progress is not None:
                progress(done + 1, len(groups))
    whole = (
        RankedGroup(group.name, group.size, group.reason or _other_reason(group))
        for group in channels.groups
    )
    return Ranking(model_digest(model), tuple(found.get(one.name, one) for one in whole))


def _other_reason(group: Group) -> str:
    return "it is to stay whole" if group.size > 1 else "it has one channel"


def _cuttable(model: ir.Model, channels: Channels, keep: Collection[str]) -> list[Group]:
    """Return the groups that may lose channels, by their first readers.

    Raises:
        PruningError: There are none, or one that is to stay is not there.
    """
    unknown = sorted(set(keep) - {group.name for group in channels.groups})
    if unknown:
        raise PruningError(f"there is no group {unknown[0]!r} in this model that could be kept")
    order = {node.name or "": at for at, node in enumerate(model.graph)}
    found = [
        (order[readers[0].name], group)
        for group in channels.groups
        if not group.reason and group.name not in keep and group.size > 1
        if (readers := readers_of(model, group))
    ]
    if not found:
        reasons = [f"{group.name!r}: {group.reason}" for group in channels.groups if group.reason]
        raise PruningError(
            "no group of this model can lose channels" + (f" ({reasons[0]})" if reasons else "")
        )
    return [group for _, group in sorted(found, key=lambda pair: pair[0])]


class _Walk:
    """Samples that go through the model, those for fitting ahead of those for measuring."""

    def __init__(
        self,
        model: ir.Model,
        groups: Sequence[Group],
        open_model: OpenModel,
        shelf: Shelf,
        options: RankOptions,
    ) -> None:
        self._model = model
        self._open = open_model
        self._options = options
        self._shelf = shelf
        self._groups = groups
        self._order = {node: at for at, node in enumerate(model.graph)}
        self._constants = constants_of(model)
        self._readers = {group.name: readers_of(model, group) for group in groups}
        every = [reader for readers in self._readers.values() for reader in readers]
        self._scout = Scout(model, every, open_model, shelf)
        firsts = [self._readers[group.name][0].node for group in groups]
        self._stages = list(dict.fromkeys(firsts))
        last = [node for node in model.graph if not is_constant_node(node)][-1]
        cuts = list(dict.fromkeys([*self._stages, last]))
        names = [node.name or "" for node in cuts]
        self._probe = Stream(model, names, open_model, shelf, tag="probe", before=True)
        self._passed = 0

    def feed(self, dataset: Dataset) -> None:
        """Share out the samples.

        Raises:
            DataError: There are none.
        """
        fit, probe = _shared_out(dataset, self._options)
        if not fit:
            raise DataError(f"{dataset.name}: has no samples; calibration needs at least one")
        few = fit[: -(-_SETTLED // self._options.batch_size)]
        self._settler = Settler(self._model, few, self._open, self._options.settle)
        for number, batch in enumerate(fit):
            self._scout.feed(number, batch.feeds)
        for number, batch in enumerate(probe):
            self._probe.feed(number, batch.feeds)

    def ranked(self) -> Iterator[RankedGroup]:
        """Yield what is found of every group."""
        judge = Judge(self._model, self._probe, self._shelf)
        for place, group in enumerate(self._groups):
            yield self._rank(group, judge)
            self._forget(place)

    def _rank(self, group: Group, judge: Judge) -> RankedGroup:
        readers = self._readers[group.name]
        parts, means = self._scout.parts(readers)
        stage = self._stages.index(readers[0].node) + 1
        for passed in range(self._passed, stage):
            self._probe.pass_on(passed)
        self._passed = max(self._passed, stage)
        first = self._order[readers[0].node]
        with threads_for(max((part.form.shape[1] for part in parts), default=0)):
            found = importance_of(self._constants, group, parts, self._options.importance)
            order = np.argsort(found, kind="stable")

            def cut_to(kept: int) -> list[Replacement]:
                stays = np.ones(group.size, np.bool_)
                stays[order[: group.size - kept]] = False
                return trial(readers, parts, means, stays)

            loss_of = functools.partial(judge.loss, self._probe, stage, first)
            levels = self._levels(group, cut_to, loss_of)
        return RankedGroup(group.name, group.size, "", tuple(order.tolist()), levels)

    def _levels(
        self,
        group: Group,
        cut_to: Callable[[int], list[Replacement]],
        loss_of: Callable[[list[Replacement]], float],
    ) -> tuple[Level, ...]:
        """Return what is lost at some widths of a group.

        Args:
            group: The group.
            cut_to: Returns constants that leave so many channels.
            loss_of: Returns the loss with some constants.
        """
        losses, shares = [Level(group.size, 0.0)], {}
        widths = _widths(group, self._options.widths)
        for kept in widths:
            constants = cut_to(kept)
            loss = loss_of(constants)
            losses.append(Level(kept, loss))
            if self._options.settle and kept in (widths[len(widths) // 2], widths[-1]):
                left = loss_of([*constants, *self._settler.fitted(constants)])
                shares[kept] = min(left / loss, 1.0) if loss > 0.0 else 1.0
        return _settled(losses, shares)

    def _forget(self, place: int) -> None:
        """Drop sums that no later group needs."""
        later = {
            reader.node
            for group in self._groups[place + 1 :]
            for reader in self._readers[group.name]
        }
        done = self._readers[self._groups[place].name]
        self._scout.forget([reader for reader in done if reader.node not in later])


def _settled(losses: Sequence[Level], shares: Mapping[int, float]) -> tuple[Level, ...]:
    """Return losses times what stays of them at some widths, on a line in between."""
    if not shares:
        return tuple(losses)
    kept = sorted(shares)
    found = np.interp([one.kept for one in losses], kept, [shares[one] for one in kept])
    return tuple(
        Level(one.kept, one.loss * float(share)) for one, share in zip(losses, found, strict=True)
    )


def _widths(group: Group, count: int) -> list[int]:
    """Return the widths at which a group is measured, narrower and narrower; 0 of a branch."""
    size = group.size
    least = max(1, round(size * _LEAST_SHARE))
    steps = np.linspace(size, least, count + 1)[1:]
    narrow = [kept for kept in dict.fromkeys(round(float(one)) for one in steps) if kept < size]
    return narrow + ([0] if group.exits else [])


def _shared_out(dataset: Dataset, options: RankOptions) -> tuple[list[Batch], list[Batch]]:
    """Return batches to fit on, and others to measure on where there are enough."""
    half = (dataset.size + 1) // 2
    fitting = min(options.samples, max(dataset.size - options.probes, half))
    fit: list[Batch] = []
    probe: list[Batch] = []
    seen = 0
    for batch in dataset.batches(options.batch_size):
        if seen >= fitting + options.probes and probe:
            break
        (fit if seen < fitting else probe).append(batch)
        seen += batch.size
    return fit, probe or fit
