"""A run's state in a file: written whole or not at all, and read by nothing but the same run."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.core.files import atomic_file
from bmopt.core.runner import Array

_FORMAT = 1
_FACTS = "facts"


@dataclasses.dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
        facts: Plain numbers and text: step, time, history.
        arrays: Variables, the optimiser's state and the best variables so far, by name.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]


def save(path: Path, run: str, state: State) -> None:
    """Write the state of the run with the digest ``run``.

    Raises:
        OutputError: ``path`` cannot be written, or the disk is full.
    """
    text = json.dumps({"bmopt_checkpoint": _FORMAT, "run": run, **state.facts})
    with atomic_file(path) as scratch, scratch.open("wb") as stream:
        arrays: dict[str, Any] = {_FACTS: np.frombuffer(text.encode(), np.uint8)}
        np.savez(stream, **{**arrays, **state.arrays})


def load(path: Path, run: str) -> State | None:
    """Return the state in a file; None where it is missing, damaged or another run's."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            facts = json.loads(stored[_FACTS].tobytes())
            if facts.pop("bmopt_checkpoint") != _FORMAT or facts.pop("run") != run:
                return None
            return State(facts, {n: stored[n] for n in stored.files if n != _FACTS})
    except (OSError, ValueError, LookupError, TypeError, zipfile.BadZipFile, zlib.error, EOFError):
        return None
