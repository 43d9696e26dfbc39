"""Bundles as one file, whose bytes depend on nothing but the files in it.

Everything lies in one folder named after the bundle; ``manifest.json`` comes first, so that who
extracts it knows what may follow. The same libzstd or zlib makes the same bytes of them.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from bmopt.bundle import tar_format, zip_format
from bmopt.bundle.layout import ARCHIVES, MANIFEST, SIGNATURE, SUMS, archive_suffix
from bmopt.bundle.manifest_json import read_manifest
from bmopt.bundle.member import CHUNK_BYTES
from bmopt.bundle.tree import files_in
from bmopt.core.files import atomic_file
from bmopt.errors import UsageError

ZSTD_LEVEL = 9
_GZIP_LEVEL = 6
_FIRST = (MANIFEST, SUMS, SIGNATURE)


def write_archive(folder: Path, out: Path) -> None:
    """Write the bundle in ``folder`` as ``out``: ``.tar.zst``, ``.tar.gz`` or ``.zip``.

    Raises:
        BundleError: ``folder`` is no bundle, or a file does not fit the format.
        OutputError: ``out`` cannot be written.
        TrustError: There is a link or a special file.
        UsageError: ``out`` has another suffix.
    """
    suffix = archive_suffix(out.name)
    if not suffix:
        raise UsageError(f"{out}: an archive's name ends with {', '.join(ARCHIVES)}")
    top = read_manifest(folder).name
    names = sorted(files_in(folder), key=lambda path: (_rank(path), path))
    files = [(f"{top}/{name}", folder / name) for name in names]
    with atomic_file(out) as scratch:
        if suffix == ".zip":
            _write_zip(files, scratch)
            return
        with _compressed(scratch, suffix) as stream:
            _write_tar(files, stream)


def _rank(path: str) -> int:
    return _FIRST.index(path) if path in _FIRST else len(_FIRST)


@contextmanager
def _compressed(path: Path, suffix: str) -> Iterator[BinaryIO]:
    with path.open("wb") as raw:
        if suffix == ".tar.gz":
            with gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as stream:
                yield cast("BinaryIO", stream)
            return
        import zstandard

        compressor = zstandard.ZstdCompressor(ZSTD_LEVEL, write_checksum=True)
        with compressor.stream_writer(raw, closefd=False) as stream:
            yield cast("BinaryIO", stream)


def _write_tar(files: list[tuple[str, Path]], out: BinaryIO) -> None:
    for name, path in files:
        size, is_executable = _facts(path)
        out.write(tar_format.header(name, size, is_executable=is_executable))
        _copy(path, out)
        out.write(tar_format.padding(size))
    out.write(tar_format.END)


def _write_zip(files: list[tuple[str, Path]], out: Path) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        for name, path in files:
            size, is_executable = _facts(path)
            entry = zip_format.entry(name, size, is_executable=is_executable)
            with archive.open(entry, "w") as stream:
                _copy(path, cast("BinaryIO", stream))


def _facts(path: Path) -> tuple[int, bool]:
    facts = path.stat()
    return facts.st_size, bool(facts.st_mode & 0o100)


def _copy(path: Path, out: BinaryIO) -> None:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            out.write(chunk)
