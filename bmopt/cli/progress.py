"""Progress on stderr: drawn on a terminal, silent in a pipe; warnings are lines in both."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_REDRAW_NS = 100_000_000


class Lines:
    """Tells warnings only, each once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def step(self, name: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Print ``message`` as one line, unless it was printed before."""
        text = " ".join(message.split())
        if text not in self._told:
            self._told.add(text)
            print(f"bmopt: warning: {text}", file=sys.stderr)

    def warn_all(self, messages: Iterable[str]) -> None:
        """Warn of each message."""
        for message in messages:
            self.warn(message)


class Drawn(Lines):
    """Draws the current step.

    It is drawn only from within ``step`` and ``advance``, never from a thread of its own, which
    would disturb the latencies that are being measured.
    """

    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar
        self._drawn_ns = 0

    def step(self, name: str) -> None:
        """Begin a step and draw it."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(name, total=None)
        self._bar.refresh()

    def advance(self, done: int, total: int) -> None:
        """Draw how far the step is, at most ten times a second."""
        now = time.monotonic_ns()
        if not self._bar.task_ids or (now - self._drawn_ns < _REDRAW_NS and done < total):
            return
        self._drawn_ns = now
        self._bar.update(self._bar.task_ids[-1], completed=done, total=total, refresh=True)


@contextlib.contextmanager
def shown_progress(*, plain: bool = False) -> Iterator[Lines]:
    """Yield what shows the steps of a run on stderr; ``plain`` shows warnings only."""
    if plain or not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    step = TextColumn("{task.description}", markup=False)
    columns = (step, BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=False
    ) as bar:
        yield Drawn(bar)
