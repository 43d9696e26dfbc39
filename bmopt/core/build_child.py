"""A build in a process of its own: both sides of what is said between the two."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from bmopt import errors
from bmopt.core.isolate import start_isolated
from bmopt.errors import IsolatedToolError

Progress = Callable[[int, int], None]


def build_apart(
    worker: str,
    spec: str,
    outcome: Path,
    *,
    name: str,
    timeout_s: float,
    progress: Progress | None = None,
    cause: Callable[[], str] = str,
) -> str:
    """Run ``python -m worker SPEC`` and return what it wrote into ``outcome``.

    Args:
        worker: The module.
        spec: Text of the file that it is given, which lies beside ``outcome``.
        outcome: Its file, in a folder where no file of the user's can be taken for a module.
        name: What to call it in messages.
        timeout_s: Seconds that it may take.
        progress: Is told (steps done, steps in all).
        cause: Where it died, what its log says of that.

    Raises:
        IsolatedToolError: It died or ran out of time.
    """
    folder = outcome.parent
    path = folder / "spec.json"
    path.write_text(spec, encoding="utf-8")
    start_ns = time.monotonic_ns()
    child = start_isolated(
        [sys.executable, "-m", worker, str(path)],
        timeout_s=timeout_s,
        name=name,
        listen=lambda line: _tell(line, progress),
        folder=folder,
    )
    try:
        child.wait()
    except IsolatedToolError as error:
        late = (time.monotonic_ns() - start_ns) / 1e9 >= timeout_s
        advice = "; allow it more with --build-timeout" if late else ""
        said = f"; its log says: {found}" if (found := cause()) else ""
        raise IsolatedToolError(f"{error}{said}{advice}") from error
    if not outcome.is_file():
        raise IsolatedToolError(f"{name} ended without an outcome")
    return outcome.read_text(encoding="utf-8")


def _tell(line: str, progress: Progress | None) -> None:
    done, _, total = line.partition(" ")
    if progress is not None and done.isdigit() and total.isdigit():
        progress(int(done), int(total))


def require_built(error: str, message: str) -> None:
    """Raise what a child's outcome names by the name of its class; nothing where it is empty."""
    if error:
        kind: type[errors.BmoptError] = getattr(errors, error)
        raise kind(message)


def own_stdout() -> TextIO:
    """Return standard output, and send what an SDK prints there to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def tell(progress: TextIO, done: int, total: int) -> None:
    """Tell the parent how far it is."""
    progress.write(f"{done} {total}\n")
    progress.flush()
