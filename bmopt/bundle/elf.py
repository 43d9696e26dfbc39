"""For which platform a shared library was built, from its ELF header."""

from __future__ import annotations

import struct
from pathlib import Path

from bmopt.errors import BundleError

_HEADER = struct.Struct("<4sBB10xHH")
_LITTLE_64 = (2, 1)
_MACHINES = {62: "x86_64-linux", 183: "aarch64-linux"}
"""``e_machine`` of the System V ABI -> platform."""


def platform_of(path: Path) -> str:
    """Return ``"x86_64-linux"`` or ``"aarch64-linux"``.

    Raises:
        BundleError: The file cannot be read, or is no shared library for either.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEADER.size)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    if len(head) == _HEADER.size:
        magic, width, order, _, machine = _HEADER.unpack(head)
        if magic == b"\x7fELF" and (width, order) == _LITTLE_64 and machine in _MACHINES:
            return _MACHINES[machine]
    raise BundleError(f"{path}: is no shared library for {' or '.join(_MACHINES.values())}")


def require_platform(path: Path, platform: str) -> None:
    """Check that a shared library is for ``platform``.

    Raises:
        BundleError: It is not.
    """
    found = platform_of(path)
    if found != platform:
        raise BundleError(f"{path}: is for {found}, and the bundle is for {platform}")
