"""Zip archives of regular files, stored or deflated."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from bmopt.bundle.member import CHUNK_BYTES, Member
from bmopt.errors import TrustError

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that zip knows."""

_UNIX = 3
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ERRORS = (
    # What zipfile raises where an archive's bytes make no sense to it.
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


def entry(name: str, size: int, *, is_executable: bool) -> zipfile.ZipInfo:
    """Return what a zip says of a file: nothing that depends on when or where it is written."""
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system = _UNIX
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | (0o755 if is_executable else 0o644)) << 16
    info.file_size = size
    return info


def read_zip(stream: BinaryIO) -> Iterator[Member]:
    """Yield the files of a zip in the order of its directory.

    Raises:
        TrustError: It is damaged, or has what no bundle has.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                yield _member(archive, info)
    except _ERRORS as error:
        raise TrustError(f"it is damaged ({error})") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = info.orig_filename
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise TrustError(f"{name!r} is a symbolic link")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or name.endswith("/"):
        raise TrustError(f"{name!r} is no regular file")
    if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
        raise TrustError(f"{name!r} is encrypted or compressed in a way that no bundle is")
    return Member(name, info.file_size, bool(mode & 0o100), _content(archive, info))


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(info) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except _ERRORS as error:
        raise TrustError(f"it is damaged ({error})") from error
