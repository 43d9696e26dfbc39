"""The one form of tar that bundles have: ustar (POSIX.1-1988) with regular files only.

A header is a function of name, size and executability. The reader demands exactly the bytes that
the writer makes of these, so that nothing in an archive can be changed without effect.
"""

from __future__ import annotations

from collections.abc import Iterator

from bmopt.bundle.member import CHUNK_BYTES, Member, Readable
from bmopt.errors import BundleError, TrustError

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""

_MAX_SIZE = 8 << 30
_NAME, _PREFIX = 100, 155
_MODE = {False: b"0000644\0", True: b"0000755\0"}
_REGULAR = b"0"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a folder",
    b"6": "a pipe",
}
_OTHER = "an entry of a kind that no bundle has"


def header(name: str, size: int, *, is_executable: bool) -> bytes:
    """Return the 512 bytes before a file's content.

    Raises:
        BundleError: The path or the file is too large for this form of tar.
    """
    if size >= _MAX_SIZE:
        raise BundleError(f"{name}: has 8 GiB or more, too much for tar; write a .zip or a folder")
    prefix, base = _split(name)
    fields = (
        base.ljust(_NAME, b"\0"),
        _MODE[is_executable],
        b"0000000\0" * 2,  # user and group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # the time of the last change
        b" " * 8,  # the checksum counts as blanks
        _REGULAR,
        bytes(_NAME),  # a link's target
        b"ustar\00000",
        bytes(32 + 32),  # user and group by name
        b"0000000\0" * 2,  # device numbers
        prefix.ljust(_PREFIX, b"\0"),
    )
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def padding(size: int) -> bytes:
    """Return the zeros behind ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def read_tar(stream: Readable) -> Iterator[Member]:
    """Yield the files of a tar; read each one's content before asking for the next.

    Raises:
        TrustError: It is not as bmopt writes it.
    """
    while (block := _exactly(stream, BLOCK)) != END[:BLOCK]:
        member = _member(block, stream)
        yield member
        if any(_exactly(stream, len(padding(member.size)))):
            raise TrustError("it has data between its files")
    if _exactly(stream, BLOCK) != END[BLOCK:] or stream.read(1):
        raise TrustError("it has data behind its end")


def _member(block: bytes, stream: Readable) -> Member:
    kind = block[156:157]
    name = _text(block[:_NAME])
    prefix = _text(block[345 : 345 + _PREFIX])
    path = f"{prefix}/{name}" if prefix else name
    if kind != _REGULAR:
        raise TrustError(f"{path!r} is {_KINDS.get(kind, _OTHER)}")
    digits = block[124:135]
    size = int(digits, 8) if digits.isdigit() and max(digits) < ord("8") else -1
    is_executable = block[100:108] == _MODE[True]
    if size < 0 or not _is_ours(block, path, size, is_executable=is_executable):
        raise TrustError(f"the entry of {path!r} is not as bmopt writes it")
    return Member(path, size, is_executable, _content(stream, size))


def _is_ours(block: bytes, path: str, size: int, *, is_executable: bool) -> bool:
    try:
        return header(path, size, is_executable=is_executable) == block
    except BundleError:
        return False


def _content(stream: Readable, size: int) -> Iterator[bytes]:
    while size:
        chunk = _exactly(stream, min(size, CHUNK_BYTES))
        size -= len(chunk)
        yield chunk


def _exactly(stream: Readable, size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise TrustError("it ends before its last file")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _split(name: str) -> tuple[bytes, bytes]:
    """Return prefix and name as ustar stores a path, joined by the ``/`` between them."""
    raw = name.encode("utf-8", "surrogateescape")
    if len(raw) <= _NAME:
        return b"", raw
    start = raw.find(b"/", len(raw) - _NAME - 1)
    if not 0 < start <= _PREFIX or start == len(raw) - 1:
        raise BundleError(f"{name}: is too long a path for tar; write a .zip or a folder")
    return raw[:start], raw[start + 1 :]
