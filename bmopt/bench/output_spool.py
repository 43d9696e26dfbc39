"""A model's outputs, batch after batch, in a temporary file rather than in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any

import numpy as np

from bmopt.core.runner import Array
from bmopt.errors import OutputError

_Form = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


class OutputSpool:
    """Outputs in the order in which they were added.

    The file has no name where the system allows that, and is gone with the process at the latest.
    What stays in memory is a position for each batch. Close it, or use it as a context manager.
    """

    def __init__(self) -> None:
        self._forms: dict[_Form, _Form] = {}
        self._batches: list[tuple[int, _Form]] = []
        self._end = 0
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="bmopt-outputs-")  # noqa: SIM115
        except OSError as error:
            raise _unwritable(error) from error

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def size_bytes(self) -> int:
        """How many bytes lie on disk."""
        return self._end

    def add(self, outputs: Mapping[str, Array]) -> None:
        """Append a batch; texts become fixed-width arrays of them.

        Raises:
            OutputError: The disk is full.
        """
        plain = {name: _plain(array) for name, array in outputs.items()}
        form = tuple((name, array.dtype, array.shape) for name, array in plain.items())
        # Batches are alike but for the last, so their forms are shared.
        self._batches.append((self._end, self._forms.setdefault(form, form)))
        try:
            for array in plain.values():
                self._file.write(array.reshape(-1).view(np.uint8).data if array.size else b"")
                self._end += array.nbytes
            self._file.flush()
        except OSError as error:
            raise _unwritable(error) from error

    def read(self, number: int) -> dict[str, Array]:
        """Return the outputs of a batch, counted from 0."""
        position, form = self._batches[number]
        self._file.seek(position)
        found = {}
        for name, dtype, shape in form:
            size = int(np.prod(shape, dtype=np.int64))
            data = self._file.read(size * dtype.itemsize)
            found[name] = np.frombuffer(data, dtype, size).reshape(shape)
        self._file.seek(self._end)
        return found

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def __enter__(self) -> OutputSpool:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _plain(array: Array) -> Array:
    texts = array.astype(str) if array.dtype.hasobject else array
    return np.ascontiguousarray(texts).reshape(texts.shape)


def _unwritable(error: OSError) -> OutputError:
    return OutputError(
        f"cannot keep the source model's outputs on disk ({error.strerror}); point TMPDIR at a "
        "larger one, or take fewer samples with --val-limit"
    )
