"""The header of a shared library (ELF), read before the loader maps what is not there.

A library that was cut short kills the process that loads it with a bus error.
"""

from __future__ import annotations

import struct
from pathlib import Path

from bmopt.errors import ArtifactError

_MAGIC = b"\x7fELF"
_WIDE, _LITTLE = 2, 1
# Offsets of e_machine; then e_shoff, e_shentsize and e_shnum in files of 64 and of 32 bits
# (System V ABI, chapter 4).
_MACHINE = struct.Struct("<18xH")
_SECTIONS = {True: struct.Struct("<40xQ10xHH"), False: struct.Struct("<32xI10xHH")}
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "armv7l", 0xF3: "riscv64"}


def architecture_of(path: Path) -> str:
    """Return the architecture of a whole shared library, as ``Host.architecture`` names it.

    Raises:
        ArtifactError: The file is missing, no ELF file, or cut short.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(64)
        size = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); compile again") from error
    if not head.startswith(_MAGIC) or len(head) < 64 or head[5] != _LITTLE:
        raise ArtifactError(f"{path}: is no shared library; compile again")
    start, width, count = _SECTIONS[head[4] == _WIDE].unpack_from(head)
    if start + width * count > size:
        raise ArtifactError(f"{path}: is cut short; compile again")
    (machine,) = _MACHINE.unpack_from(head)
    return _MACHINES.get(machine, f"machine {machine:#x}")
