"""Work that test processes which run beside each other take turns with."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "build"


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait until no other process of this checkout is inside with the same name."""
    _FOLDER.mkdir(exist_ok=True)
    with (_FOLDER / f"{name}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
