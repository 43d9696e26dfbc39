"""A content-addressed cache: a repeated or killed run finds its finished steps there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bmopt import __version__
from bmopt.core import digest
from bmopt.core.files import atomic_file, write_text
from bmopt.core.host import versions
from bmopt.errors import OutputError


def cache_folder() -> Path:
    """Return ``BMOPT_CACHE_DIR``, or ``bmopt`` in the user's cache folder."""
    if own := os.environ.get("BMOPT_CACHE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bmopt"


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
        if path.is_file():
            return path.read_text(encoding="utf-8")
        text = make()
        self.keep(lambda: write_text(path, text))
        return text

    def keep_file(self, source: Path, path: Path) -> None:
        """Copy ``source`` to ``path`` in the cache."""

        def copy() -> None:
            with atomic_file(path) as scratch:
                shutil.copyfile(source, scratch)

        self.keep(copy)

    @staticmethod
    def keep(write: Callable[[], None]) -> None:
        """Write to the cache; one that cannot be written is no reason to fail."""
        try:
            write()
        except OutputError:
            return


def clear_cache(folder: Path | None = None) -> int:
    """Delete the cache and return how many bytes it had."""
    folder = folder if folder is not None else cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return size
