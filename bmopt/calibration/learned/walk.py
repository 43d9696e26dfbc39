"""Samples on their way through a float model and a quantised one, block after block."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.learned.alone import RowCollector
from bmopt.calibration.learned.block import Block, BlockData
from bmopt.calibration.learned.borders import Borders
from bmopt.calibration.learned.cutting import Unit
from bmopt.calibration.learned.descent import Deadline
from bmopt.calibration.learned.learnable import Learnable, Learned, learnable
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.weight import is_held_out
from bmopt.calibration.sequence.likeness import ChannelFit
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.corrections import Corrections, Replacement
from bmopt.core.dataset import Batch
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array, OpenModel
from bmopt.differentiable.program import Program
from bmopt.differentiable.torch_access import require_torch

_BLOCK_BYTES = 512 << 20
_FLOAT = "\0float"


Progress = Callable[[int, int], None]
"""Called with the blocks done and the blocks in all."""


class Walk:
    """The samples on their way through both graphs, and what was learned so far.

    Args:
        model: The float model.
        quantized: The quantised one.
        plan: How it was quantised.
        open_model: Opens parts of both.
        shelf: Where tensors are kept.
        options: How to learn.
        tag: Tells walks on one shelf apart.

    Attributes:
        borders: The blocks.
        sizes: Samples of every batch.
        error: Of what the last block computes, on the samples held out.
    """

    def __init__(
        self,
        model: ir.Model,
        quantized: ir.Model,
        plan: QuantPlan,
        open_model: OpenModel,
        shelf: Shelf,
        options: LearnOptions,
        tag: str,
    ) -> None:
        self.error = 0.0
        self.borders = Borders(model, quantized, plan)
        self.sizes: list[int] = []
        self._torch = require_torch()
        self._plan = plan
        self._shelf = shelf
        self._options = options
        self._deadline = Deadline.after(options.seconds)
        self._floats = {node.name or "": node for node in model.graph}
        self._float = Stream(model, self.borders.float_cuts, open_model, shelf, tag=f"{tag}/float")
        self._stored = Stream(
            quantized, self.borders.stored_cuts, open_model, shelf, tag=f"{tag}/stored"
        )
        self._replacements: dict[tuple[str, int], Replacement] = {}
        self._steps: dict[str, tuple[str, ...]] = {}
        self._after: dict[str, float] = {}

    def feed(self, batch: Batch) -> None:
        """Take in a batch."""
        number = len(self.sizes)
        self._float.feed(number, batch.feeds)
        self._stored.feed(number, batch.feeds)
        self.sizes.append(batch.size)

    @property
    def has_learned(self) -> bool:
        """Whether anything was found to be better."""
        return bool(self._steps)

    def run(self, progress: Progress | None) -> None:
        """Learn every unit, in order."""
        total = len(self.borders.units)
        for index in range(total):
            self.move(index)
            if progress is not None:
                progress(index + 1, total)

    def move(self, index: int) -> None:
        """Learn a unit and move on behind it."""
        unit = self.borders.units[index]
        inside = frozenset(unit.nodes if not unit.alone else self._floats)
        found = (
            learnable(self._floats[name], self._plan.weights[name], self.borders.stored, inside)
            for name in unit.products
        )
        items = [item for item in found if item is not None]
        self._run_float(index, items)
        if items and not self._deadline.is_over:
            learned = self._alone(index, items[0]) if unit.alone else self._block(index, items)
            self._take(items, learned, unit)
        self._run_stored(index, items)

    def joined(self, corrections: Corrections) -> Corrections:
        """Return ``corrections`` with what was learned."""
        old = {(r.node, r.input): r for r in corrections.replacements}
        layers = [
            dataclasses.replace(
                facts,
                steps=(*facts.steps, *self._steps.get(facts.node, ())),
                after_db=self._after.get(facts.node, facts.after_db),
            )
            for facts in corrections.layers
        ]
        replacements = tuple((old | self._replacements).values())
        return dataclasses.replace(corrections, replacements=replacements, layers=tuple(layers))

    def _run_float(self, index: int, items: Sequence[Learnable]) -> None:
        """Keep what the float unit reads and computes for as long as the unit is learned."""
        unit = self.borders.units[index]
        reads = [_name(item.product.node.inputs[0]) for item in items if unit.alone]
        biased = [node.outputs[0].name or "" for node in self._biased(unit, items).values()]
        shown = [*self.borders.outputs(index), *biased, *reads]
        names = list(dict.fromkeys(shown))
        for number, arrays in enumerate(self._float.advance(index, names)):
            for name in names:
                self._shelf.put(_FLOAT + name, number, arrays[name])

    def _run_stored(self, index: int, items: Sequence[Learnable]) -> None:
        """Run the quantised unit with what was learned, and see how its products fit."""
        nodes = self._biased(self.borders.units[index], items)
        fits = {i.name: ChannelFit(i.channel_axis, i.product.channels) for i in items}
        mine = {name: self.borders.stored[node.name or ""] for name, node in nodes.items()}
        is_last = index + 1 == len(self.borders.units)
        outputs = self.borders.outputs(index) if is_last else {}
        shown = [*(_name(node.outputs[0]) for node in mine.values()), *outputs.values()]
        for number, arrays in enumerate(self._stored.advance(index, shown)):
            for name, node in nodes.items():
                wanted = self._shelf.get(_FLOAT + _name(node.outputs[0]), number)
                fits[name].add(wanted, arrays[_name(mine[name].outputs[0])])
            self.error += sum(
                self._held_error(number, name, arrays[found]) for name, found in outputs.items()
            )
        self._after.update((name, fits[name].sqnr_db()) for name in nodes)
        for name, number in [*self._shelf.names()]:
            if name.startswith(_FLOAT):
                self._shelf.drop(name, number)

    def _held_error(self, number: int, name: str, found: Array) -> float:
        """Return the squared error of the samples of a batch that are held out."""
        held = self._held_out(number)[: len(found)]
        wanted = self.borders.as_stored(name, self._shelf.get(_FLOAT + name, number))
        off = wanted[: len(held)][held] - found[: len(held)][held]
        return float(np.vdot(off, off))

    def _held_out(self, number: int) -> npt.NDArray[np.bool_]:
        """Return which samples of a batch are held out."""
        first, size = sum(self.sizes[:number]), self.sizes[number]
        return is_held_out(sum(self.sizes), self._options.held_out)[first : first + size]

    def _biased(self, unit: Unit, items: Sequence[Learnable]) -> dict[str, ir.Node]:
        """Return the float node behind which every product has its bias, if in the unit."""
        nodes = {i.name: i.product.node if i.home is None else i.home.node for i in items}
        return {name: node for name, node in nodes.items() if (node.name or "") in unit.nodes}

    def _block(self, index: int, items: Sequence[Learnable]) -> list[Learned] | None:
        outputs = self.borders.outputs(index)
        data = self._data(self.borders.reads(index), outputs)
        if data is None or not outputs:
            return None
        program = Program(self._torch, self.borders.nodes(index))
        block = Block(self._torch, program, items, data, self._options)
        return block.learn(self._options.seed + index, self._deadline)

    def _data(self, reads: Sequence[str], outputs: Mapping[str, str]) -> BlockData | None:
        """Return as many samples as memory has room for; None where they have no axis."""
        feeds: dict[str, list[Array]] = {name: [] for name in reads}
        targets: dict[str, list[Array]] = {name: [] for name in outputs.values()}
        used = 0
        for number, size in enumerate(self.sizes):
            for name, parts in feeds.items():
                parts.append(self._stored.get(number, name))
            for name, mine in outputs.items():
                array = self._shelf.get(_FLOAT + name, number)
                targets[mine].append(self.borders.as_stored(name, array))
            new = [parts[-1] for parts in (*feeds.values(), *targets.values())]
            if any(array.shape[:1] != (size,) for array in new):
                return None
            used += sum(array.nbytes for array in new)
            if used > _BLOCK_BYTES:
                break
        return BlockData(_whole(feeds), _whole(targets))

    def _alone(self, index: int, item: Learnable) -> list[Learned] | None:
        rows = RowCollector(item, sum(self.sizes), self._options.seed)
        for number, read in enumerate(self._reads(index, item.read)):
            name = _FLOAT + _name(item.product.node.inputs[0])
            rows.add(read, self._shelf.get(name, number), self._held_out(number))
        learned = rows.learned(self._options, self._deadline)
        return None if learned is None else [learned]

    def _reads(self, index: int, name: str) -> Iterator[Array]:
        """Return what a unit reads, or makes of that before it reads anything of its own."""
        if name in self.borders.reads(index):
            return (self._stored.get(number, name) for number in range(len(self.sizes)))
        return self._stored.peek(index, name)

    def _take(
        self, items: Sequence[Learnable], learned: Sequence[Learned] | None, unit: Unit
    ) -> None:
        for item, found in zip(items, learned or (), strict=False):
            for replacement in item.replacements(found):
                self._replacements[(replacement.node, replacement.input)] = replacement
            self._stored.overrides.update(item.stored(found))
            alone = f"learned alone (no torch for {', '.join(unit.alone)})"
            self._steps[item.name] = (alone if unit.alone else "learned",)


def _name(value: ir.Value | None) -> str:
    assert value is not None
    return value.name or ""


def _whole(parts: Mapping[str, Sequence[Array]]) -> dict[str, Array]:
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
