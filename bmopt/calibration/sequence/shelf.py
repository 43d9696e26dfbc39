"""Arrays that are kept in memory up to a limit and on disk beyond it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from bmopt.core.runner import Array

DEFAULT_BYTES = 768 << 20
"""What a shelf keeps in memory."""


class Shelf:
    """Arrays by name and number; what does not fit into memory lies in a temporary folder.

    Args:
        memory_bytes: What is kept in memory.
    """

    def __init__(self, memory_bytes: int = DEFAULT_BYTES) -> None:
        self._limit = memory_bytes
        self._held = 0
        self._arrays: dict[tuple[str, int], Array] = {}
        self._files: dict[tuple[str, int], Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written = 0

    def put(self, name: str, number: int, array: Array) -> None:
        """Keep ``array``, in the place of an older one of that name and number."""
        self.drop(name, number)
        key = (name, number)
        if self._held + array.nbytes <= self._limit:
            self._arrays[key] = array
            self._held += array.nbytes
        else:
            self._files[key] = self._write(array)

    def get(self, name: str, number: int) -> Array:
        """Return an array; it is not to be changed."""
        key = (name, number)
        if key in self._arrays:
            return self._arrays[key]
        array: Array = np.load(self._files[key])
        return array

    def drop(self, name: str, number: int) -> None:
        """Forget an array, if there is one."""
        array = self._arrays.pop((name, number), None)
        if array is not None:
            self._held -= array.nbytes
        path = self._files.pop((name, number), None)
        if path is not None:
            path.unlink()

    def names(self) -> Iterator[tuple[str, int]]:
        """Yield every name and number that is kept."""
        yield from [*self._arrays, *self._files]

    def _write(self, array: Array) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bmopt-")
        path = Path(self._folder.name) / f"{self._written}.npy"
        self._written += 1
        np.save(path, array)
        return path

    def __enter__(self) -> Shelf:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._arrays.clear()
        self._files.clear()
        self._held = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
