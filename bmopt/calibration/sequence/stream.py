"""Samples that move through a graph stage by stage, so that no node runs twice.

A graph is cut at given nodes. What is alive at a cut is kept for every batch of samples; a stage
reads it and leaves what the later ones read. What depends on no sample is not kept but computed
anew by every stage that reads it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stages import fixed_nodes, last_readers, stages_of
from bmopt.core.corrections import Replacement
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Feeds, OpenModel, Runner
from bmopt.errors import CalibrationError, DataError
from bmopt.graph.pieces import live_nodes, names_read, piece_of, with_inputs


class Stream:
    """The samples of one graph.

    Args:
        model: The graph; is not changed.
        cuts: Names of the nodes at which stages end, in graph order; what is behind the last one
            never runs.
        open_model: Opens pieces of the graph; what its runners return is kept.
        shelf: Where tensors are kept between stages, under names that start with ``tag``.
        tag: Tells the streams on one shelf apart.
        before: A stage ends before its cut node, which is the first of the next stage. What the
            last one reads is kept.

    Attributes:
        overrides: Initialiser -> what the stages that run from now on take instead of it.
    """

    def __init__(
        self,
        model: ir.Model,
        cuts: Sequence[str],
        open_model: OpenModel,
        shelf: Shelf,
        *,
        tag: str,
        before: bool = False,
    ) -> None:
        self.overrides: dict[str, Array] = {}
        self._model = model
        self._open = open_model
        self._shelf = shelf
        self._tag = tag
        self._fixed = fixed_nodes(model.graph)
        self._fixed_names = {value.name for node in self._fixed for value in node.outputs}
        self._stages = stages_of(model.graph, cuts, before=before)
        self._last_reader = last_readers(self._stages)
        self._replaced: dict[str, dict[int, Array]] = {}
        self._kept: list[set[str]] = []

    @property
    def batches(self) -> int:
        """How many batches were taken in."""
        return len(self._kept)

    def feed(self, number: int, feeds: Feeds) -> None:
        """Take the batch ``number`` in; numbers count from 0."""
        assert number == len(self._kept)
        self._kept.append(set())
        for name, array in feeds.items():
            if name in self._last_reader:
                self.put(number, name, array)

    def put(self, number: int, name: str, array: Array) -> None:
        """Keep a tensor of a batch."""
        self._kept[number].add(name)
        self._shelf.put(f"{self._tag}:{name}", number, array)

    def get(self, number: int, name: str) -> Array:
        """Return a tensor of a batch that is kept; it is not to be changed."""
        return self._shelf.get(f"{self._tag}:{name}", number)

    def replace(self, replacement: Replacement) -> None:
        """Let a node of a stage that has not run yet read another constant."""
        self._replaced.setdefault(replacement.node, {})[replacement.input] = replacement.array

    def pass_on(self, stage: int) -> None:
        """Run a stage on every batch.

        Raises:
            CalibrationError: The graph computes something else than tensors there.
        """
        for _ in self.advance(stage, ()):
            pass

    def advance(self, stage: int, shown: Sequence[str]) -> Iterator[Mapping[str, Array]]:
        """Run a stage on every batch and yield what it shows, which may be kept from before.

        Raises:
            CalibrationError: The graph computes something else than tensors there.
        """
        nodes = self._stages[stage]
        made = {value.name or "" for node in nodes for value in node.outputs}
        live = {
            name
            for name in made - self._fixed_names
            if name and self._last_reader.get(name, -1) > stage
        }
        wanted = [name for name in dict.fromkeys([*shown, *sorted(live)]) if name in made]
        dead = {name for name, last in self._last_reader.items() if last <= stage}
        for number, outputs in enumerate(self._run(nodes, wanted)):
            for name in sorted(live):
                self.put(number, name, outputs[name])
            yield {n: outputs[n] if n in outputs else self.get(number, n) for n in shown}
            self._forget(number, self._kept[number] & dead)

    def peek(self, stage: int, name: str) -> Iterator[Array]:
        """Yield a tensor that a stage makes, of every batch, before the stage runs; keep nothing.

        Nodes are run as they are in the model, whatever ``replace`` was told.

        Raises:
            CalibrationError: It is no tensor.
        """
        for outputs in self._run(self._stages[stage], [name], replaced={}):
            yield outputs[name]

    def finish(
        self, stage: int, shown: Sequence[str], replacements: Sequence[Replacement] = ()
    ) -> Iterator[Mapping[str, Array]]:
        """Yield what the stages from ``stage`` on make, of every batch; keep nothing.

        Args:
            stage: The next one to run.
            shown: Tensors that these stages make.
            replacements: Constants that nodes are to read this time.

        Raises:
            CalibrationError: One is no tensor.
        """
        replaced: dict[str, dict[int, Array]] = {}
        for one in replacements:
            replaced.setdefault(one.node, {})[one.input] = one.array
        nodes = [node for nodes in self._stages[stage:] for node in nodes]
        return self._run(nodes, shown, replaced)

    def _run(
        self,
        nodes: Sequence[ir.Node],
        wanted: Sequence[str],
        replaced: Mapping[str, Mapping[int, Array]] | None = None,
    ) -> Iterator[Mapping[str, Array]]:
        """Yield what ``nodes`` compute of every batch, without what they do not depend on."""
        chosen = self._replaced if replaced is None else replaced
        with contextlib.ExitStack() as stack:
            runner, inputs = self._opened(stack, nodes, wanted, chosen)
            for number in range(len(self._kept)):
                if runner is None:
                    yield {}
                    continue
                outputs = runner.run({name: self.get(number, name) for name in inputs})
                _require_arrays(outputs)
                yield outputs

    def _opened(
        self,
        stack: contextlib.ExitStack,
        nodes: Sequence[ir.Node],
        wanted: Sequence[str],
        replaced: Mapping[str, Mapping[int, Array]],
    ) -> tuple[Runner | None, tuple[str, ...]]:
        """Return what computes ``wanted``, None for nothing, and the names of what it reads."""
        if not wanted or not self._kept:
            return None, ()
        piece = self._piece(nodes, wanted, replaced)
        inputs = tuple(value.name or "" for value in piece.graph.inputs)
        return stack.enter_context(self._open(piece)), inputs

    def _piece(
        self,
        nodes: Sequence[ir.Node],
        wanted: Sequence[str],
        replaced: Mapping[str, Mapping[int, Array]],
    ) -> ir.Model:
        constants = dict(self.overrides)
        own = set(nodes)
        chosen = []
        for node in [*(n for n in self._fixed if n not in own), *nodes]:
            new = {
                index: f"{node.name}/input/{index}" for index in replaced.get(node.name or "", ())
            }
            constants |= {name: replaced[node.name or ""][i] for i, name in new.items()}
            chosen.append(with_inputs(node, new) if new else node)
        live = live_nodes(chosen, wanted)
        made = {value.name for node in live for value in node.outputs}
        read = {name for node in live for name in names_read(node)} - made
        inputs = {name: self.get(0, name).dtype for name in sorted(read & self._kept[0])}
        return piece_of(self._model, live, inputs, wanted, constants)

    def _forget(self, number: int, names: Collection[str]) -> None:
        for name in names:
            self._shelf.drop(f"{self._tag}:{name}", number)
            self._kept[number].discard(name)


def feed_first(streams: Sequence[Stream], dataset: Dataset, batch_size: int, samples: int) -> None:
    """Feed the first samples to every stream.

    Args:
        streams: Streams that nothing was fed to.
        dataset: Where the samples come from.
        batch_size: Samples per batch.
        samples: How many; the last batch may hold a few more.

    Raises:
        DataError: There are none.
    """
    for number, batch in enumerate(first_batches(dataset, batch_size, samples)):
        for stream in streams:
            stream.feed(number, batch.feeds)
    if any(not stream.batches for stream in streams):
        raise DataError(f"{dataset.name}: has no samples; calibration needs at least one")


def first_batches(dataset: Dataset, batch_size: int, samples: int) -> Iterator[Batch]:
    """Yield batches until ``samples`` were seen; the last one may hold a few more."""
    seen = 0
    for batch in dataset.batches(batch_size):
        if seen >= samples:
            return
        seen += batch.size
        yield batch


def _require_arrays(outputs: Mapping[str, object]) -> None:
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            raise CalibrationError(f"tensor {name!r}: is no tensor but a {type(value).__name__}")
