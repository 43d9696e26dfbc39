"""NumPy's matrix products on one thread, where more of them are of no use.

OpenBLAS' threads wait for each other in loops. On matrices of a few hundred rows that takes more
than a second thread gives, and many times more where other programs, or an engine's threads, want
the processor too. NumPy itself has no setting for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

_MAPPINGS = Path("/proc/self/maps")
_LIBRARY = "openblas"
_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_SMALL = 1024
"""Sides of matrices up to which one thread is enough."""

Setting = tuple[Callable[[], int], Callable[[int], object]]


@contextlib.contextmanager
def threads_for(size: int) -> Iterator[None]:
    """Use one thread as long as matrices are small; without effect where there is no OpenBLAS.

    Args:
        size: The longer side of the matrices that are multiplied and solved.
    """
    settings = _settings() if size <= _SMALL else ()
    before = [get() for get, _ in settings]
    for _, put in settings:
        put(1)
    try:
        yield
    finally:
        for (_, put), count in zip(settings, before, strict=True):
            put(count)


@functools.cache
def _settings() -> tuple[Setting, ...]:
    """Return getter and setter of the thread count of every OpenBLAS in this process."""
    found = []
    for path in _libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name in _NAMES:
            get = getattr(library, name.format("get_num_threads"), None)
            put = getattr(library, name.format("set_num_threads"), None)
            if get is not None and put is not None:
                found.append((get, put))
                break
    return tuple(found)


def _libraries() -> list[str]:
    """Return the paths of the OpenBLAS libraries that are loaded; Linux only."""
    try:
        lines = _MAPPINGS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    return sorted(path for path in paths if _LIBRARY in Path(path).name)
