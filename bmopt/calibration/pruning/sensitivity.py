"""What a model's outputs lose where one group has fewer channels and its readers are fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.pruning.elimination import Part, refit
from bmopt.calibration.pruning.readers import Reader
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream
from bmopt.core.corrections import Replacement
from bmopt.core.runner import Array

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def trial(
    readers: Sequence[Reader], parts: Sequence[Part], means: Mapping[str, Floats], kept: Bools
) -> list[Replacement]:
    """Return constants with which the whole model computes what one with fewer channels would.

    Readers are fitted by ``parts``, and their biases take up the means of what goes; those that
    cannot be fitted get zeroes.

    Args:
        readers: Of a group.
        parts: Of those that can be fitted, in their order.
        means: Their names -> mean of what each reads.
        kept: Whether each of the group's channels stays.
    """
    found = []
    known = iter(parts)
    for reader in readers:
        if reader.product is None:
            found.append(reader.masked(kept))
            continue
        part = next(known)
        matrix = refit(part, kept)
        found.append(reader.refitted(matrix))
        home = reader.home
        if home is not None:
            shift = np.einsum("gok,gk->go", part.weight - matrix, means[reader.name]).reshape(-1)
            bias = (home.bias + shift).astype(reader.product.weight().dtype).reshape(home.shape)
            found.append(Replacement(home.node.name or "", home.input, bias))
    return found


class Judge:
    """Compares outputs with those of the whole model.

    Args:
        model: The model.
        stream: Samples on their way through it, of which nothing has run.
        shelf: Where the whole model's outputs are kept.
    """

    def __init__(self, model: ir.Model, stream: Stream, shelf: Shelf) -> None:
        made = {value.name: at for at, node in enumerate(model.graph) for value in node.outputs}
        self._makers = {
            value.name or "": made[value.name]
            for value in model.graph.outputs
            if value.name in made
        }
        self._shelf = shelf
        for number, outputs in enumerate(stream.finish(0, list(self._makers))):
            for name, array in outputs.items():
                shelf.put(f"judge:{name}", number, np.array(array))

    def loss(
        self, stream: Stream, stage: int, first: int, replacements: Sequence[Replacement]
    ) -> float:
        """Return the mean over the outputs of squared error to variance; 1 is all.

        Of outputs that are no floats, the share that differs.

        Args:
            stream: The samples, before ``stage``.
            stage: The next one to run.
            first: Position in the graph of the first node of that stage.
            replacements: Constants that nodes are to read.
        """
        found = {name: _Error() for name, maker in self._makers.items() if maker >= first}
        for number, outputs in enumerate(stream.finish(stage, list(found), replacements)):
            for name, error in found.items():
                error.add(outputs[name], self._shelf.get(f"judge:{name}", number))
        return sum(error.share() for error in found.values()) / max(len(self._makers), 1)


class _Error:
    """What an output is off, summed over batches."""

    def __init__(self) -> None:
        self._error = self._total = self._square = 0.0
        self._count = 0

    def add(self, found: Array, wanted: Array) -> None:
        """Take in a batch; what has another shape is wrong everywhere."""
        exact = wanted.astype(np.float64)
        self._count += exact.size
        if not np.issubdtype(wanted.dtype, np.floating):
            same = found.shape == wanted.shape
            self._error += float((found != wanted).sum()) if same else exact.size
            self._square += exact.size
            return
        off = found - exact if found.shape == wanted.shape else exact
        self._error += float(np.square(off).sum())
        self._total += float(exact.sum())
        self._square += float(np.square(exact).sum())

    def share(self) -> float:
        """Return the error as a share of the variance."""
        variance = self._square - self._total * self._total / max(self._count, 1)
        if not np.isfinite(self._error) or variance <= 0.0:
            return float(self._error != 0.0)
        return self._error / variance
