"""A content-addressed cache: a repeated or killed run finds its finished steps there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from bmopt import __version__
from bmopt.core import digest
from bmopt.core.cache_folder import cache_folder
from bmopt.core.files import write_text
from bmopt.core.host import versions
from bmopt.errors import OutputError

_ENTRY = re.compile(r"[0-9a-f]{64}(\.onnx(\.data)?|\.npz)?")
_ENGINE_FILES = (".engine", ".profile", ".timing")
"""What an engine writes into a folder that it is given in the cache."""


class Cache:
    """Files by the digest of all they depend on, the versions of bmopt and engines included."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder if folder is not None else cache_folder()

    def path(self, step: str, **inputs: object) -> Path:
        """Return where the result of ``step`` on ``inputs`` lies, or would lie."""
        key = digest.of_json(
            {"step": step, "bmopt": __version__, "versions": versions(), **inputs}
        )
        return self._folder / step / key[:2] / key

    def text(self, make: Callable[[], str], step: str, **inputs: object) -> str:
        """Return the cached text of ``step`` on ``inputs``, made with ``make`` if missing."""
        path = self.path(step, **inputs)
        found = self.stored_text(path)
        if found is not None:
            return found
        text = make()
        self.keep(lambda: write_text(path, f"{digest.of_bytes(text.encode())}\n{text}"))
        return text

    @staticmethod
    def stored_text(path: Path) -> str | None:
        """Return the text that ``text`` keeps at ``path``, None where it is missing or damaged."""
        try:
            expected, _, text = path.read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError):
            return None
        return text if digest.of_bytes(text.encode()) == expected else None

    @staticmethod
    def keep(write: Callable[[], None]) -> None:
        """Write to the cache; one that cannot be written is no reason to fail."""
        try:
            write()
        except OutputError:
            return


def clear_cache(folder: Path | None = None) -> int:
    """Delete what the cache holds and return how many bytes that was.

    Other files in its folder, which a user may have chosen carelessly, stay.

    Raises:
        OutputError: Something cannot be deleted.
    """
    folder = folder if folder is not None else cache_folder()
    paths = list(_entries(folder))
    try:
        size = sum(path.stat().st_size for path in paths)
        for path in paths:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be cleared ({error.strerror})") from error
    emptied = {above for path in paths for above in path.relative_to(folder).parents[:-1]}
    for kept in sorted(emptied, key=lambda above: len(above.parts), reverse=True):
        with contextlib.suppress(OSError):  # it holds something else
            (folder / kept).rmdir()
    return size


def _entries(folder: Path) -> Iterator[Path]:
    for path in folder.glob("*/??/*"):
        if not _ENTRY.fullmatch(path.name) or path.parent.name != path.name[:2]:
            continue
        if path.is_dir():
            yield from (file for file in path.iterdir() if file.suffix in _ENGINE_FILES)
        else:
            yield path
