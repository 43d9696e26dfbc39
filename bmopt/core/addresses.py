"""Where the kernel puts a process: at random addresses, or at the same ones as every other.

Random addresses are a different layout of code in every process, and some layouts are a per cent
or two faster than others for as long as the process lives. On Linux a process can ask for fixed
ones (``ADDR_NO_RANDOMIZE`` of personality(2)) and gets them when it executes a program next. The
same goes for the seed that Python hashes text with, which decides how its dictionaries lie.
"""

from __future__ import annotations

import ctypes
import os
import sys

_NO_RANDOMIZE = 0x0040000
_ASK = 0xFFFFFFFF


def are_fixed() -> bool:
    """Whether this process asked for fixed addresses."""
    found = _personality(_ASK)
    return found is not None and bool(found & _NO_RANDOMIZE)


def execute_fixed(arguments: list[str]) -> None:
    """Execute Python anew with ``arguments``, at fixed addresses and with a fixed hash seed.

    Returns only where that is refused, as containers often do.
    """
    before = _personality(_ASK)
    if before is None or _personality(before | _NO_RANDOMIZE) is None or not are_fixed():
        return
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def _personality(value: int) -> int | None:
    """Return the personality before the call; None where there is none or it is refused."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    libc.personality.argtypes = [ctypes.c_ulong]
    found = int(libc.personality(value))
    return None if found == -1 else found
