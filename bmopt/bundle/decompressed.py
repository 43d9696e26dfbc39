"""What a compressed stream holds, with one kind of error for all that can be wrong with it."""

from __future__ import annotations

import gzip
import zlib
from typing import BinaryIO

import zstandard

from bmopt.bundle.member import Readable
from bmopt.errors import TrustError

_MAX_WINDOW = 1 << 27
"""Of a zstd stream: what the decoder may need of memory."""
_ERRORS = (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError)


class Decompressed:
    """A zstd or gzip stream, read forwards."""

    def __init__(self, raw: BinaryIO, *, is_zstd: bool) -> None:
        self._stream: Readable = _zstd(raw) if is_zstd else gzip.GzipFile(fileobj=raw)

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end.

        Raises:
            TrustError: The stream is damaged.
        """
        try:
            return self._stream.read(size)
        except _ERRORS as error:
            raise TrustError(f"it is damaged ({error})") from error


def _zstd(raw: BinaryIO) -> Readable:
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    return decoder.stream_reader(raw, read_across_frames=True, closefd=False)
