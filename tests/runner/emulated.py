"""An AArch64 box: QEMU's user mode, with Debian's cross-compiler's libraries."""

from __future__ import annotations

import os
from pathlib import Path

QEMU = "qemu-aarch64-static"

_SYSROOT = Path("/usr/aarch64-linux-gnu")
_CORE = """processor\t: {index}
BogoMIPS\t: 50.00
Features\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""


def emulator(folder: Path) -> tuple[str, ...]:
    """Return the command that runs a program for AArch64; ``folder`` becomes its root.

    QEMU shows the host's /proc/cpuinfo, where ONNX Runtime finds no core that it knows, and
    crashes; a file of the same name below -L is shown instead.
    """
    (folder / "lib").symlink_to(_SYSROOT / "lib")
    (folder / "proc").mkdir()
    cores = (_CORE.format(index=index) for index in range(os.cpu_count() or 1))
    (folder / "proc/cpuinfo").write_text("".join(cores))
    return (QEMU, "-L", str(folder))
