"""Inputs and the outputs of two models in one ``.npz``, written and read batch by batch.

Members are ``0/inputs/NAME.npy``, ``0/a/NAME.npy`` and ``0/b/NAME.npy`` for each batch from 0, and
``meta.json``; NumPy reads the file too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.core import digest
from bmopt.core.dataset import Batch
from bmopt.core.files import atomic_file
from bmopt.core.runner import Array
from bmopt.errors import DataError
from bmopt.workflow.recording import write_arrays

FORMAT_VERSION = 1

_KEY = "bmopt_comparison"
_META = "meta.json"
_DAMAGES = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


class OutputWriter:
    """Adds batches to a file that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.sizes: list[int] = []

    def add(self, batch: Batch, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """Store a batch's inputs and both models' outputs; what is no tensor is left out."""
        number = len(self.sizes)
        for kind, arrays in (("inputs", batch.feeds), ("a", a), ("b", b)):
            plain = {n: _storable(v) for n, v in arrays.items() if isinstance(v, np.ndarray)}
            write_arrays(self._archive, f"{number}/{kind}/", plain)
        self.sizes.append(batch.size)


@contextlib.contextmanager
def written_outputs(path: Path, facts: Mapping[str, Any]) -> Iterator[OutputWriter]:
    """Yield what writes ``path``; ``facts`` say what A and B are. Appears whole or not at all.

    Raises:
        OutputError: ``path`` cannot be written, or the disk is full.
    """
    with atomic_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        writer = OutputWriter(archive)
        yield writer
        meta = {_KEY: FORMAT_VERSION, "sizes": writer.sizes, **facts}
        archive.writestr(_META, json.dumps(meta, indent=1))


@dataclasses.dataclass(frozen=True)
class StoredOutputs:
    """A data set of stored inputs, with the outputs beside them.

    Attributes:
        path: The file.
        meta: What A and B were, and the samples of each batch.
    """

    path: Path
    meta: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return digest.of_file(self.path)

    @property
    def size(self) -> int:
        """How many samples there are."""
        return sum(self.meta["sizes"])

    @property
    def has_labels(self) -> bool:
        """Always false."""
        return False

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the batches as they were stored; ``batch_size`` is ignored."""
        for number, size in enumerate(self.meta["sizes"]):
            yield Batch(self._arrays(f"{number}/inputs/"), size)

    def outputs(self, number: int, side: str) -> dict[str, Array]:
        """Return what ``side``, "a" or "b", answered to a batch."""
        return self._arrays(f"{number}/{side}/")

    def _arrays(self, folder: str) -> dict[str, Array]:
        with _readable(self.path), zipfile.ZipFile(self.path) as archive:
            members = [name for name in archive.namelist() if name.startswith(folder)]
            found = {}
            for member in members:
                with archive.open(member) as stream:
                    name = member[len(folder) :].removesuffix(".npy")
                    found[name] = np.lib.format.read_array(stream, allow_pickle=False)
            return found


def open_stored(path: Path) -> StoredOutputs:
    """Open what ``written_outputs`` wrote.

    Raises:
        DataError: The file is missing, damaged, or something else.
    """
    with _readable(path), zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read(_META))
        version = meta[_KEY]
        sizes = [int(size) for size in meta["sizes"]]
    if version != FORMAT_VERSION:
        raise DataError(f"{path}: version {version!r}, this bmopt reads {FORMAT_VERSION}")
    return StoredOutputs(path, {**meta, "sizes": sizes})


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except _DAMAGES as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: is damaged, or was not written by bmopt compare --save ({reason})"
        ) from error


def _storable(array: Array) -> Array:
    """Return what NumPy can store: text without objects, half types of others as float32."""
    if array.dtype.hasobject:
        return array.astype(str)
    return array.astype(np.float32) if array.dtype.kind == "V" else array
