"""Arrays in .npz and .npy files, read front to back in blocks so that memory stays bounded.

A member of an .npz cannot be memory-mapped, and loading it whole would make a large data set cost
its size in memory; so the header is parsed here and rows are decompressed as they are needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from bmopt.core.runner import Array
from bmopt.errors import DataError


@dataclasses.dataclass(frozen=True)
class StoredArray:
    """An array in a file: its header is known, its values are not loaded.

    Attributes:
        path: The .npz or .npy file.
        key: The array's name in an .npz; empty for an .npy.
        shape: Its shape.
        dtype: Its element type.
        by_column: Whether it is stored in Fortran order, and so can only be read whole.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    by_column: bool

    @property
    def where(self) -> str:
        """What to call the array in an error."""
        return f"{self.path}: array {self.key!r}" if self.key else str(self.path)

    def read(self) -> Array:
        """Return the whole array."""
        with _opened(self.path, self.key) as stream, _read_errors(self.path):
            return npy.read_array(stream, allow_pickle=False)

    def blocks(self, rows: int, limit: int) -> Generator[Array, None, None]:
        """Yield blocks of at most ``rows`` rows (axis 0) until ``limit`` rows were given."""
        if self.by_column:
            whole = self.read()
            for start in range(0, limit, rows):
                yield whole[start : min(start + rows, limit)]
            return
        with _opened(self.path, self.key) as stream, _read_errors(self.path):
            _read_header(stream, self.path)
            for start in range(0, limit, rows):
                yield self._next_block(stream, min(rows, limit - start))

    def _next_block(self, stream: IO[bytes], rows: int) -> Array:
        count = rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        data = stream.read(count)
        if len(data) != count:
            raise DataError(f"{self.where}: ends early; the file is damaged")
        return np.frombuffer(bytearray(data), self.dtype).reshape(rows, *self.shape[1:])


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """Return the arrays of a file by name; an .npy file has one, with an empty name.

    Raises:
        DataError: The file is missing, damaged, or holds Python objects.
    """
    return {key: _describe(path, key) for key in _keys(path)}


def _keys(path: Path) -> list[str]:
    if path.suffix.lower() == ".npy":
        return [""]
    with _read_errors(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _describe(path: Path, key: str) -> StoredArray:
    with _opened(path, key) as stream, _read_errors(path):
        shape, by_column, dtype = _read_header(stream, path)
    if dtype.hasobject:
        raise DataError(f"{path}: array {key!r} holds Python objects; store plain numbers")
    return StoredArray(path, key, shape, dtype, by_column)


def _read_header(
    stream: IO[bytes], path: Path
) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise DataError(f"{path}: .npy format {version} is not supported; store plain numbers")


@contextlib.contextmanager
def _opened(path: Path, key: str) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        with _read_errors(path):
            if path.suffix.lower() == ".npy":
                stream: IO[bytes] = stack.enter_context(path.open("rb"))
            else:
                archive = stack.enter_context(zipfile.ZipFile(path))
                member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
                stream = stack.enter_context(archive.open(member))
        yield stream


@contextlib.contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is damaged or no NumPy file ({error})") from error
