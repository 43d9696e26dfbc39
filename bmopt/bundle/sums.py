"""``SHA256SUMS``: the digest of every file of a bundle, as ``sha256sum -c`` reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bmopt.bundle.layout import SIGNATURE, SUMS, checked_path
from bmopt.bundle.tree import files_in
from bmopt.core import digest
from bmopt.core.files import write_text
from bmopt.errors import BundleError, TrustError

MAX_BYTES = 16 << 20
"""Of the file; more than any bundle needs."""

UNSUMMED = frozenset({SUMS, SIGNATURE})
"""Files that ``SHA256SUMS`` does not list: itself, and what signs it."""

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over all files that are in ``folder`` by now.

    Raises:
        BundleError: A file's name cannot stand in it.
        TrustError: There is a link or a special file.
    """
    paths = [path for path in files_in(folder) if path not in UNSUMMED]
    write_text(folder / SUMS, to_text({path: digest.of_file(folder / path) for path in paths}))


def to_text(digests: Mapping[str, str]) -> str:
    """Return the text of the file: path -> hex digest, one a line, sorted by path.

    Raises:
        BundleError: A path has a character that a line cannot hold.
    """
    for path in digests:
        if not path.isprintable():
            raise BundleError(f"{path!r}: a file's name must be printable; rename it")
    return "".join(f"{digests[path]}  {path}\n" for path in sorted(digests))


def parse_sums(data: bytes, where: str) -> dict[str, str]:
    """Return path -> hex digest; ``where`` begins error messages.

    Raises:
        TrustError: It is not as ``to_text`` writes it.
    """
    lines = _text(data, where).split("\n")
    found: dict[str, str] = {}
    for number, line in enumerate(lines[:-1], start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise TrustError(f"{where}: line {number} of {SUMS} is no checksum with a path")
        found[_path(match[2], where)] = match[1]
    if lines[-1] or len(found) < len(lines) - 1:
        raise TrustError(f"{where}: {SUMS} is cut off, or has a path twice")
    return found


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrustError(f"{where}: {SUMS} is no text in UTF-8") from error


def _path(text: str, where: str) -> str:
    try:
        return checked_path(text, f"{where}: {SUMS}")
    except BundleError as error:
        raise TrustError(str(error)) from error
