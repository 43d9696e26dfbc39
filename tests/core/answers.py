"""A module whose commands a child answers with: well-behaved and other ones."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

from bmopt.core.addresses import are_fixed
from bmopt.core.conversation import Command, Told
from bmopt.errors import DataError


def add(tell: Told, *, a: int, b: int) -> int:
    tell("adding")
    return a + b


def refuse(tell: Told) -> None:
    del tell
    raise DataError("input 'x' is missing")


def crash(tell: Told) -> None:
    del tell
    print("about to fall", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(tell: Told, *, signs: int = 0) -> None:
    for index in range(signs):
        time.sleep(0.3)
        tell(index)
    time.sleep(60.0)


def bug(tell: Told) -> None:
    del tell
    raise ZeroDivisionError("a bug of ours")


def leave(tell: Told) -> None:
    del tell
    os._exit(0)


def pid(tell: Told) -> int:
    del tell
    return os.getpid()


def where(tell: Told) -> tuple[bool, int]:
    """Whether addresses are fixed, and where a function of the C library is."""
    del tell
    address = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
    return are_fixed(), int(address or 0)


_turns = 0


def spin(tell: Told) -> int:
    """Start a thread that counts, as pools of engines spin; return its count."""
    del tell
    if not _turns:
        threading.Thread(target=_spin, daemon=True).start()
    return _turns


def _spin() -> None:
    global _turns
    while True:
        _turns += 1
        time.sleep(0.001)


def commands() -> Mapping[str, Command]:
    return {one.__name__: one for one in (add, refuse, crash, hang, bug, leave, pid, where, spin)}
