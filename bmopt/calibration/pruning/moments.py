"""What the readers of groups read, gathered reader by reader in graph order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.pruning.elimination import Part
from bmopt.calibration.pruning.normal_equations import Floats, NormalEquations
from bmopt.calibration.pruning.readers import Reader, RowPicker
from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.runner import Feeds, OpenModel

_SEED = 20_221_209


class Scout:
    """Goes through the graph ahead of who wants to know what readers read.

    Args:
        model: The model.
        readers: All readers that are asked for, of any group.
        open_model: Opens pieces of the model.
        shelf: Where tensors are kept.
    """

    def __init__(
        self, model: ir.Model, readers: Sequence[Reader], open_model: OpenModel, shelf: Shelf
    ) -> None:
        order = {node: at for at, node in enumerate(model.graph)}
        self._nodes = sorted({reader.node for reader in readers}, key=order.__getitem__)
        self._products = {reader.node: reader.product for reader in readers}
        names = [node.name or "" for node in self._nodes]
        self.stream = Stream(model, names, open_model, shelf, tag="scout", before=True)
        self._found: dict[ir.Node, NormalEquations] = {}
        self._walk = self._gather()

    def feed(self, number: int, feeds: Feeds) -> None:
        """Take a batch in; before anything is asked."""
        self.stream.feed(number, feeds)

    def parts(self, readers: Sequence[Reader]) -> tuple[list[Part], Mapping[str, Floats]]:
        """Return what readers compute, and name -> mean of what each reads, ``[groups, K]``.

        They are forgotten then, so that a node can be asked for by one group after the other only
        if it reads of both.
        """
        wanted = [reader for reader in readers if reader.product is not None]
        while any(reader.node not in self._found for reader in wanted):
            next(self._walk)
        parts, means = [], {}
        for reader in wanted:
            found = self._found[reader.node].means(centred=reader.home is not None)
            parts.append(Part(reader.matrix(), found.xx, reader.columns))
            means[reader.name] = found.x
        return parts, means

    def forget(self, readers: Sequence[Reader]) -> None:
        """Drop what nobody will ask for again."""
        for reader in readers:
            self._found.pop(reader.node, None)

    def _gather(self) -> Iterator[None]:
        for stage, node in enumerate(self._nodes):
            self.stream.pass_on(stage)
            product = self._products[node]
            if product is None:
                continue
            picker = RowPicker(product, self.stream.batches)
            sums = NormalEquations(picker.groups, picker.size, 0)
            rng = np.random.default_rng(_SEED + stage)
            data = node.inputs[0]
            assert data is not None
            with threads_for(picker.size):
                for number in range(self.stream.batches):
                    read = self.stream.get(number, data.name or "")
                    (x,) = picker.pick(read, rng)
                    sums.add(x, x[:, :, :0])
            self._found[node] = sums
            yield
