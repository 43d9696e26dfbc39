"""What a quantiser is asked to do: the job file, read inside the quantiser's own environment.

A script imports this module, NumPy and its tool, nothing of bmopt.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Feeds = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """One model to quantise.

    Attributes:
        model: A copy of the FP32 model; the tool may write into it.
        samples: An .npz of feeds, array ``i-j`` being sample i's j-th input.
        inputs: The names of the inputs, j-th first.
        output: The file to write.
        option: Which variant of the tool's work.
    """

    model: str
    samples: str
    inputs: list[str]
    output: str
    option: str

    def feeds(self) -> Iterator[Feeds]:
        """Yield the feeds of one inference after the other, of 1 sample where that is possible."""
        with np.load(self.samples) as arrays:
            for number in range(len(arrays.files) // len(self.inputs)):
                yield {name: arrays[f"{number}-{j}"] for j, name in enumerate(self.inputs)}


def read_job() -> Job:
    """Read the job file that the command line names."""
    return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))


class Reader:
    """The samples as ONNX Runtime's ``CalibrationDataReader`` and ModelOpt's additions to it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.rewind()

    def get_next(self) -> Feeds | None:
        """Return the next sample, None at the end."""
        return next(self._left, None)

    def get_first(self) -> Feeds:
        """Return the first sample, and do not count it as taken."""
        return next(self._job.feeds())

    def rewind(self) -> None:
        """Start again."""
        self._left = self._job.feeds()
