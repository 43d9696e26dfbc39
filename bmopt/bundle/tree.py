"""The files of a bundle's folder: regular ones only, no link followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bmopt.errors import BundleError, TrustError

MAX_FILES = 10_000
"""More than any bundle has, folders counted; stops what was made to be endless."""


def files_in(folder: Path) -> list[str]:
    """Return the path of every file below ``folder``, relative to it with ``/``, sorted.

    Raises:
        BundleError: The folder cannot be read.
        TrustError: There is a link, a device or another special file, or too many files.
    """
    try:
        return sorted(_walk(folder))
    except OSError as error:
        raise BundleError(
            f"{error.filename or folder}: cannot be read ({error.strerror})"
        ) from error


def _walk(folder: Path) -> Iterator[str]:
    """Yield files; folders wait in a list, so that no depth of theirs is too much."""
    pending = [""]
    count = 0
    while pending:
        above = pending.pop()
        with os.scandir(folder / above) as entries:
            for entry in entries:
                count += 1
                if count > MAX_FILES:
                    raise TrustError(
                        f"{folder}: has more than {MAX_FILES} files and folders; it is no bundle"
                    )
                path = f"{above}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{path}/")
                else:
                    _require_regular(entry, folder, path)
                    yield path


def _require_regular(entry: os.DirEntry[str], folder: Path, path: str) -> None:
    if not entry.is_file(follow_symlinks=False):
        kind = "a link" if entry.is_symlink() else "no regular file"
        raise TrustError(f"{folder}: {path!r} is {kind}, which no bundle has")
