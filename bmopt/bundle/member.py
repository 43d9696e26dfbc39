"""A file in an archive, before anything of it is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Protocol

CHUNK_BYTES = 1 << 20


class Readable(Protocol):
    """What can be read forwards."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A regular file in an archive.

    Attributes:
        name: Its path as the archive has it.
        size: The size that it is said to have.
        is_executable: Whether it is a program.
        chunks: Its content; to be read before the archive's next file, once.
    """

    name: str
    size: int
    is_executable: bool
    chunks: Iterator[bytes]
