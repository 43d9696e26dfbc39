"""Write files and folders so that they are there whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmopt.errors import OutputError

MANIFEST = "manifest.json"
MANIFEST_KEY = "bmopt_artifact"
"""The file, and the key in it, that mark a folder as an artifact of ours."""


@contextlib.contextmanager
def atomic_folder(path: Path, key: str = MANIFEST_KEY) -> Iterator[Path]:
    """Yield a scratch folder beside ``path``; on success it takes ``path``'s place.

    On an error nothing is left behind and an earlier ``path`` is untouched. ``key`` marks, in
    its manifest, a folder that may be replaced.

    Raises:
        OutputError: ``path`` cannot be written or replaced, or the disk is full.
    """
    require_replaceable(path, key)
    with _output_errors(path):
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


def require_replaceable(path: Path, key: str = MANIFEST_KEY) -> None:
    """Check that a folder can be written at ``path`` before the work for it is done.

    Raises:
        OutputError: ``path`` holds anything but a folder of ours with ``key`` in its manifest,
            which would be lost, or there is a file in its way or a folder that cannot be
            written to.
    """
    with _output_errors(path):
        if os.path.lexists(path):
            _require_own(path, key)
        _require_room(path)


def _require_room(path: Path) -> None:
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise OutputError(f"{path}: {above} is no folder; choose another output")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written (no permission to write to {above})")


def require_writable_file(path: Path) -> None:
    """Check that a file can be written at ``path`` before the work for it is done.

    Raises:
        OutputError: There is a folder at ``path``, a file in its way, or no permission.
    """
    with _output_errors(path):
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no regular file; name another output")
        _require_room(path)


def _require_own(path: Path, key: str) -> None:
    if not path.is_dir():
        raise OutputError(f"{path}: exists and is not a folder; choose another output")
    if any(path.iterdir()) and not _has_manifest(path, key):
        raise OutputError(f"{path}: holds other files; choose a new or empty folder")
    if path.samefile(Path.cwd()) or path.is_mount():
        raise OutputError(f"{path}: cannot be replaced where it is; name a folder inside it")


def _has_manifest(path: Path, key: str) -> bool:
    """Whether the folder has a manifest of ours: other programs have files of that name too."""
    try:
        document = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and key in document


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
    try:
        path.rename(old / "old")
        try:
            scratch.rename(path)
        except OSError:
            (old / "old").rename(path)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
