"""The process of a subject that is never opened again: everything stays where it lies."""

from __future__ import annotations

from collections.abc import Mapping

from bmopt.core.conversation import Command, Told
from bmopt.workflow.benching.worker import Engine


class StillEngine(Engine):
    """Does nothing where it is asked to open the model again."""

    def reopen(self, tell: Told, *, seed: int) -> int:
        """Stay."""
        del tell, seed
        return 0


def commands() -> Mapping[str, Command]:
    """Return what the process answers."""
    return StillEngine().commands()
