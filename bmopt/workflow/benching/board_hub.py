"""The parent's side of the one process that holds the connection to a board."""

from __future__ import annotations

import contextlib
import itertools
from types import TracebackType
from typing import Any

from bmopt.core.board import Board, BoardFacts
from bmopt.core.conversation import Conversation, Told
from bmopt.errors import BmoptError, BoardError
from bmopt.workflow.benching.board_worker import DISCONNECTED
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.workers import Worker

_WORKER = "bmopt.workflow.benching.board_worker"
_CONNECTING_S = 30.0
_PARTING_S = 10.0


class BoardHub:
    """A connection to a board in a process of its own; a context manager that ends it.

    Attributes:
        board: The board.
        facts: What it tells of itself.
    """

    def __init__(self, board: Board, *, timeout_s: float, module: str = _WORKER) -> None:
        """Connect.

        Raises:
            BoardError: It cannot be reached, or does not answer.
            HostError: TVM is not installed here.
            IsolatedToolError: The process died.
        """
        self.board = board
        self._talk = Conversation(f"board {board}: its process", module, fixed_addresses=True)
        self._numbers = itertools.count()
        try:
            self.facts: BoardFacts = self._talk.ask(
                "connect",
                timeout_s=timeout_s + 2 * _CONNECTING_S,
                board=board,
                patience_s=_CONNECTING_S,
            )
        except BaseException:
            self._talk.close()
            raise

    @property
    def started_ns(self) -> int:
        """When its process was started, by the monotonic clock."""
        return self._talk.started_ns

    @property
    def is_dead(self) -> bool:
        """Whether its process died, or was ended because it did not answer."""
        return self._talk.is_dead

    def number(self) -> int:
        """Return the number of a new subject."""
        return next(self._numbers)

    def ask(
        self,
        subject: int,
        command: str,
        given: dict[str, object],
        *,
        timeout_s: float,
        told: Told | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        """Return the answer for a subject; raises as ``Conversation.ask``."""
        return self._talk.ask(
            "ask",
            timeout_s=timeout_s,
            told=told,
            subject=subject,
            request=command,
            given=given,
        )

    def forget(self, subject: int, *, timeout_s: float) -> None:
        """Close a subject; harmless where that fails."""
        with contextlib.suppress(BmoptError):
            self._talk.ask("close", timeout_s=timeout_s, subject=subject)

    def __enter__(self) -> BoardHub:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._disconnect()
        self._talk.close()

    def _disconnect(self) -> None:
        """End the connection in order: a server that finds it torn serves nobody any more.

        After Ctrl-C, the answer to what was interrupted comes first.
        """
        for _ in range(2):
            with contextlib.suppress(BmoptError):
                if self._talk.ask("disconnect", timeout_s=_PARTING_S) == DISCONNECTED:
                    return


class BoardWorker(Worker):
    """A subject on a board."""

    def __init__(self, name: str, text: str, options: BenchOptions, hub: BoardHub) -> None:
        self.name = name
        self.text = text
        self._options = options
        self._opened = None
        self._hub = hub
        self._number = hub.number()
        self._is_lost = False

    @property
    def on_board(self) -> bool:
        """Whether it runs on another machine."""
        return True

    @property
    def started_ns(self) -> int:
        """When the process of all subjects on the board was started."""
        return self._hub.started_ns

    @property
    def is_dead(self) -> bool:
        """Whether the board dropped off."""
        return self._is_lost or self._hub.is_dead

    def sleep_between_requests(self, *, is_wanted: bool) -> None:
        """Do nothing: it takes no cores here."""

    def ask(
        self, command: str, *, seconds: float = 0.0, told: Told | None = None, **given: object
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        """Return the answer to a command that takes ``seconds`` where all is well."""
        limit_s = self._options.timeout_s + seconds
        try:
            return self._hub.ask(self._number, command, given, timeout_s=limit_s, told=told)
        except BoardError:
            self._is_lost = True
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.is_dead:
            self._hub.forget(self._number, timeout_s=self._options.timeout_s)
