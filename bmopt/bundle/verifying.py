"""Whether a bundle is as it was packed: its checksums and its signature."""

from __future__ import annotations

import dataclasses
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bmopt.bundle import signing, sums
from bmopt.bundle.extraction import extract
from bmopt.bundle.layout import MANIFEST, SIGNATURE, SUMS, UNLISTED
from bmopt.bundle.manifest import FileEntry, Manifest
from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.tree import files_in
from bmopt.core import digest
from bmopt.errors import BundleError, TrustError

_CHANGED = "it was changed after it was packed"


@dataclasses.dataclass(frozen=True)
class Opened:
    """A bundle whose manifest can be read; nothing else of it is checked yet.

    Attributes:
        where: Its path as the user gave it.
        folder: Where its files lie.
        manifest: What it says of itself.
        extracted: Path -> what came out of its archive; None for a folder.
    """

    where: str
    folder: Path
    manifest: Manifest
    extracted: Mapping[str, FileEntry] | None


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a bundle: a folder, or an archive that is extracted into a temporary folder.

    Raises:
        BundleError: It is none, or its manifest is malformed.
        TrustError: The archive is damaged, or has what its manifest does not list.
    """
    if path.is_dir():
        _require_regular(path)
        yield Opened(str(path), path, read_manifest(path), None)
        return
    if not path.is_file():
        what = (
            "is no bundle: a folder, .tar.zst, .tar.gz or .zip" if path.exists() else "is missing"
        )
        raise BundleError(f"{path}: {what}")
    with tempfile.TemporaryDirectory(prefix="bmopt-bundle-") as name:
        folder = Path(name)
        manifest, extracted = extract(path, folder)
        yield Opened(str(path), folder, manifest, extracted)


def check_sums(bundle: Opened) -> int:
    """Compare every file with ``SHA256SUMS`` and with the manifest; return how many there are.

    Raises:
        TrustError: A file is missing, in no list, a link, or was changed.
    """
    where, listed = bundle.where, bundle.manifest.files
    names = set(files_in(bundle.folder) if bundle.extracted is None else bundle.extracted)
    _same_names(where, names - UNLISTED, set(listed), MANIFEST)
    if SUMS not in names:
        raise TrustError(f"{where}: {SUMS} is missing; {_CHANGED}")
    found = bundle.extracted or _measured(bundle, names)
    stated = sums.parse_sums(_read(bundle, SUMS, sums.MAX_BYTES), where)
    _same_names(where, names - sums.UNSUMMED, set(stated), SUMS)
    for path in sorted(stated):
        if found[path].sha256 != stated[path]:
            raise TrustError(f"{where}: {path!r} is not what {SUMS} says; {_CHANGED}")
        if path in listed and found[path] != listed[path]:
            raise TrustError(f"{where}: {path!r} is not what {MANIFEST} says; {_CHANGED}")
    return len(names)


def check_signer(bundle: Opened, demanded: bytes | None) -> bytes | None:
    """Check the signature of ``SHA256SUMS``; return the public key, None where it is not signed.

    Args:
        bundle: The bundle, its sums checked.
        demanded: The 32 bytes of the key that has to have signed it; None where any may.

    Raises:
        TrustError: It does not match, is of another key, or is demanded and missing.
        UsageError: ``cryptography`` is not installed.
    """
    if not (bundle.folder / SIGNATURE).exists():
        if demanded is not None:
            raise TrustError(f"{bundle.where}: is not signed, and a key was given")
        return None
    signed = _read(bundle, SUMS, sums.MAX_BYTES)
    stored = _read(bundle, SIGNATURE, signing.MAX_BYTES)
    return signing.check_signature(signed, stored, bundle.where, demanded)


def _require_regular(folder: Path) -> None:
    """Refuse a manifest that is a link or a pipe before it is opened."""
    try:
        mode = (folder / MANIFEST).lstat().st_mode
    except OSError:
        return  # reading it tells
    if not stat.S_ISREG(mode):
        raise TrustError(f"{folder}: {MANIFEST} is no regular file, which no bundle has")


def _same_names(where: str, names: set[str], listed: set[str], lister: str) -> None:
    for path in sorted(names - listed):
        raise TrustError(f"{where}: {path!r} is not listed in {lister}; {_CHANGED}")
    for path in sorted(listed - names):
        raise TrustError(f"{where}: {path!r} is listed in {lister} and missing; {_CHANGED}")


def _measured(bundle: Opened, names: set[str]) -> dict[str, FileEntry]:
    """Return digests and sizes of a folder's files; what has another size is not even read."""
    found = {}
    for name in sorted(names):
        path = bundle.folder / name
        size = path.stat().st_size
        entry = bundle.manifest.files.get(name)
        if entry is not None and entry.bytes != size:
            raise TrustError(
                f"{bundle.where}: {name!r} has {size} bytes instead of {entry.bytes}; {_CHANGED}"
            )
        found[name] = FileEntry(digest.of_file(path), size)
    return found


def _read(bundle: Opened, name: str, most: int) -> bytes:
    with (bundle.folder / name).open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TrustError(f"{bundle.where}: {name} is larger than any bundle's")
    return data
