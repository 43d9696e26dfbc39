"""Write files and folders so that they are there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmopt.errors import OutputError

MANIFEST = "manifest.json"
"""What marks a folder as an artifact of ours."""


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a scratch folder beside ``path``; on success it takes ``path``'s place.

    On an error nothing is left behind and an earlier ``path`` is untouched.

    Raises:
        OutputError: ``path`` cannot be written or replaced, or the disk is full.
    """
    with _output_errors(path):
        require_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _output_errors(path):
            yield scratch
            scratch.chmod(0o755)
            _swap_folder(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a scratch file path beside ``path``; on success it takes ``path``'s place.

    Raises:
        OutputError: ``path`` cannot be written, or the disk is full.
    """
    with _output_errors(path):
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no regular file; name another output")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    scratch = Path(name)
    try:
        with _output_errors(path):
            yield scratch
            scratch.chmod(0o644)
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def require_replaceable(path: Path) -> None:
    """Raise ``OutputError`` if ``path`` holds anything but an artifact: it would be lost."""
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path}: exists and is not a folder; choose another output")
    if not (path / MANIFEST).is_file() and any(path.iterdir()):
        raise OutputError(f"{path}: holds other files; choose a new or empty folder")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    with atomic_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason})") from error


def _swap_folder(scratch: Path, path: Path) -> None:
    if not path.exists():
        scratch.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.rename(old / "old")
    try:
        scratch.rename(path)
    except OSError:
        (old / "old").rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
