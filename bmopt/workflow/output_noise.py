"""How far the outputs of candidates are from the float model's, on a few calibration samples."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.bench.likeness import LikenessMeter
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Runner
from bmopt.graph.model_io import save_model

Open = Callable[[Path], Runner]

_BEST_DB = 200.0


class OutputNoise:
    """The float model's outputs, kept in memory, to hold candidates against.

    Args:
        model: The float model.
        dataset: The samples; few, for the outputs of all are kept.
        batch_size: Samples per inference.
        open_graph: Opens an ``.onnx`` file as candidates are to be run.
    """

    def __init__(
        self, model: ir.Model, dataset: Dataset, batch_size: int, open_graph: Open
    ) -> None:
        self._open = open_graph
        self._seen: list[tuple[Batch, Mapping[str, Array]]] = []
        with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
            path = Path(folder) / "float.onnx"
            save_model(model, path)
            with open_graph(path) as runner:
                for batch in dataset.batches(batch_size):
                    self._seen.append((batch, _numbers(runner.run(batch.feeds))))

    def sqnr_db(self, candidate: ir.Model) -> float:
        """Return the mean over the outputs of signal to noise in dB, at most 200."""
        meter = LikenessMeter()
        with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
            path = Path(folder) / "candidate.onnx"
            save_model(candidate, path)
            with self._open(path) as runner:
                for batch, expected in self._seen:
                    meter.add(expected, runner.run(batch.feeds), batch.size, None)
        return mean_db(meter.likeness().sqnr_db)


def _numbers(outputs: Mapping[str, Any]) -> dict[str, Array]:
    """Return the outputs that are tensors of numbers."""
    return {
        name: value
        for name, value in outputs.items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    }


def mean_db(decibels: Mapping[str, float]) -> float:
    """Return the mean of those that are numbers, minus infinity where none is."""
    finite = [min(value, _BEST_DB) for value in decibels.values() if not math.isnan(value)]
    return sum(finite) / len(finite) if finite else -math.inf
