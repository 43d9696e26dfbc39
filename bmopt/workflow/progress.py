"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the steps of a run; the command line draws them, a pipe gets none."""

    def step(self, name: str) -> None:
        """Begin the step ``name``; the step before it is done."""

    def advance(self, done: int, total: int) -> None:
        """Say how much of the current step is done."""

    def warn(self, message: str) -> None:
        """Tell the user, in one line, what should make them look twice."""


class Quiet:
    """Shows nothing; warnings are kept."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def step(self, name: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Keep the message."""
        self.warnings.append(message)
