"""Archives from anybody, extracted so that they can do no harm.

``manifest.json`` has to come first and says what may follow: a file that it does not list, or that
is larger than it says, ends the extraction at once. Nothing but regular files is created, and only
under names that lie inside the folder and do not collide where case does not count.
"""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bmopt.bundle import manifest, signing, sums
from bmopt.bundle.decompressed import Decompressed
from bmopt.bundle.layout import MANIFEST, SIGNATURE, SUMS, checked_path
from bmopt.bundle.manifest import FileEntry, Manifest
from bmopt.bundle.manifest_json import from_json
from bmopt.bundle.member import Member
from bmopt.bundle.tar_format import read_tar
from bmopt.bundle.tree import MAX_FILES
from bmopt.bundle.zip_format import read_zip
from bmopt.errors import BundleError, TrustError

_ZSTD, _GZIP, _ZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"PK\x03\x04"
_AGAIN = "copy it again"


def extract(archive: Path, folder: Path) -> tuple[Manifest, dict[str, FileEntry]]:
    """Extract a bundle's archive into the empty folder ``folder``.

    Returns:
        Its manifest, and path -> what was written, digests taken on the way.

    Raises:
        BundleError: It is no archive, its manifest is malformed, or there is no room for it.
        TrustError: It is damaged, or has what its manifest does not list.
    """
    with _members(archive) as members:
        try:
            return _extract(members, folder, str(archive))
        except TrustError as error:
            raise TrustError(f"{archive}: {error}; {_AGAIN}") from error


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    """Open an archive by what its first bytes say it is."""
    try:
        raw = archive.open("rb")
    except OSError as error:
        raise BundleError(f"{archive}: cannot be read ({error.strerror})") from error
    with raw:
        start = raw.read(len(_ZSTD))
        raw.seek(0)
        if start == _ZIP:
            yield read_zip(raw)
        elif start == _ZSTD or start.startswith(_GZIP):
            yield read_tar(Decompressed(raw, is_zstd=start == _ZSTD))
        else:
            raise BundleError(f"{archive}: is no bundle: a folder, .tar.zst, .tar.gz or .zip")


def _extract(
    members: Iterator[Member], folder: Path, where: str
) -> tuple[Manifest, dict[str, FileEntry]]:
    first = next(members, None)
    if first is None:
        raise TrustError("it is empty")
    top, data = _manifest(first)
    described = from_json(data, f"{where}: {MANIFEST}")
    _require_room(described, folder, where)
    limits = _limits(described)
    names = _Names()
    written = {MANIFEST: _write([data], folder / MANIFEST, len(data), is_executable=False)}
    names.add(MANIFEST)
    for member in members:
        path = _inside(member.name, top)
        names.add(path)
        if len(written) >= MAX_FILES:
            raise TrustError(f"it has more than {MAX_FILES} files")
        most = limits.get(path)
        if most is None:
            raise TrustError(f"{path!r} is not listed in {MANIFEST}")
        written[path] = _write(
            member.chunks, folder / path, most, is_executable=member.is_executable
        )
    return described, written


def _manifest(member: Member) -> tuple[str, bytes]:
    """Return the folder that all is in, with ``/`` behind it, and the manifest's bytes."""
    top, _, name = member.name.rpartition("/")
    if name != MANIFEST or "/" in top:
        raise TrustError(f"it does not begin with {MANIFEST}, as those of bmopt package do")
    _checked(member.name)
    data = b"".join(_limited(member.chunks, manifest.MAX_BYTES, MANIFEST))
    return f"{top}/" if top else "", data


def _limits(described: Manifest) -> Mapping[str, int]:
    """Return path -> the largest size that it may have."""
    listed = {path: entry.bytes for path, entry in described.files.items()}
    return {**listed, SUMS: sums.MAX_BYTES, SIGNATURE: signing.MAX_BYTES}


def _require_room(described: Manifest, folder: Path, where: str) -> None:
    needed = sum(entry.bytes for entry in described.files.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            f"{where}: needs {needed >> 20} MiB in {folder.parent}, where {free >> 20} are free; "
            "make room, or set TMPDIR"
        )


def _inside(name: str, top: str) -> str:
    _checked(name)
    if not name.startswith(top):
        raise TrustError(f"{name!r} lies outside its folder {top!r}")
    return name[len(top) :]


def _checked(name: str) -> str:
    try:
        return checked_path(name, "it")
    except BundleError as error:
        raise TrustError(f"{name[:80]!r} is no path inside the bundle") from error


class _Names:
    """The paths so far, told apart as a file system would that ignores case."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}
        self._files: set[str] = set()

    def add(self, path: str) -> None:
        """Add a file.

        Raises:
            TrustError: It collides with one that is there.
        """
        parts = path.split("/")
        for depth in range(1, len(parts)):
            self._add("/".join(parts[:depth]), is_folder=True)
        self._add(path, is_folder=False)

    def _add(self, path: str, *, is_folder: bool) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        found = self._seen.setdefault(folded, (path, is_folder))
        if folded in self._files or found != (path, is_folder):
            raise TrustError(f"{path!r} and {found[0]!r} collide")
        if not is_folder:
            self._files.add(folded)


def _write(
    chunks: Iterator[bytes] | list[bytes], path: Path, most: int, *, is_executable: bool
) -> FileEntry:
    digest = hashlib.sha256()
    size = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        for chunk in _limited(iter(chunks), most, path.name):
            digest.update(chunk)
            out.write(chunk)
            size += len(chunk)
    path.chmod(0o755 if is_executable else 0o644)
    return FileEntry(digest.hexdigest(), size)


def _limited(chunks: Iterator[bytes], most: int, name: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TrustError(f"{name!r} is larger than it may be")
        yield chunk
