"""What the process answers that holds the connection to a board: all subjects on it are there.

A board serves one connection at a time, so its subjects cannot have a process each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bmopt.core.board import Board, BoardFacts, BoardLink
from bmopt.core.conversation import Command, Told
from bmopt.core.measurement import Fact
from bmopt.workflow.benching.opened import Opened, opened
from bmopt.workflow.benching.worker import Engine
from bmopt.workflow.boards import link_to, open_on_board

DISCONNECTED = "disconnected"
"""The answer to ``disconnect``."""

_COMMANDS = (
    "open",
    "feed",
    "move",
    "warm_up",
    "block",
    "reopen",
    "run",
    "throughput",
    "device",
    "layers",
)


class BoardEngine(Engine):
    """A subject on a board."""

    def __init__(self, board: Board, link: BoardLink) -> None:
        super().__init__()
        self._board = board
        self._link = link

    def open(self, tell: Told, *, text: str, threads: int, any_host: bool) -> Opened:
        """Open a subject on the board."""
        del tell, any_host
        self._threads = threads
        self._subject = open_on_board(text, self._link, threads=threads)
        self._runner = self._wrapped(self._subject.runner)
        facts = self._link.facts
        settings: dict[str, Fact] = {
            "board": str(self._board),
            "board_architecture": facts.architecture,
            "board_cpu": facts.cpu,
            "board_cores": facts.cores,
            "board_threads": self._link.use_threads(threads),
        }
        return dataclasses.replace(opened(self._subject), settings=settings)

    def reopen(self, tell: Told, *, seed: int) -> int:
        """Leave it as it is: to send it again takes longer than to time it."""
        del tell, seed
        return 0

    def move(self, tell: Told, *, cpus: Sequence[int]) -> None:
        """Leave it where the board's kernel has it."""
        del tell, cpus

    def commands(self) -> Mapping[str, Command]:
        """Return every command by its name."""
        return {name: getattr(self, name) for name in _COMMANDS}

    def close(self) -> None:
        """Forget the model."""
        if self._subject is not None:
            self._subject.__exit__(None, None, None)


class BoardEngines:
    """The subjects on a board, by number; its public methods are the commands."""

    def __init__(self) -> None:
        self._board: Board | None = None
        self._link: BoardLink | None = None
        self._engines: dict[int, BoardEngine] = {}

    def commands(self) -> Mapping[str, Command]:
        """Return every command by its name."""
        methods = (self.connect, self.ask, self.close, self.disconnect)
        return {method.__name__: method for method in methods}

    def connect(self, tell: Told, *, board: Board, patience_s: float) -> BoardFacts:
        """Connect to the board."""
        del tell
        self._board, self._link = board, link_to(board, timeout_s=patience_s)
        return self._link.facts

    def ask(self, tell: Told, *, subject: int, request: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever the command returns
        """Answer a command of ``Engine`` for one of the subjects."""
        assert self._board is not None
        assert self._link is not None
        if subject not in self._engines:
            self._engines[subject] = BoardEngine(self._board, self._link)
        return self._engines[subject].commands()[request](tell, **given)

    def disconnect(self, tell: Told) -> str:
        """End the connection."""
        for subject in tuple(self._engines):
            self.close(tell, subject=subject)
        if self._link is not None:
            link, self._link = self._link, None
            link.__exit__(None, None, None)
        return DISCONNECTED

    def close(self, tell: Told, *, subject: int) -> None:
        """Forget a subject."""
        del tell
        if (engine := self._engines.pop(subject, None)) is not None:
            engine.close()


def commands() -> Mapping[str, Command]:
    """Return what the process answers; see ``bmopt.core.conversation``."""
    return BoardEngines().commands()
