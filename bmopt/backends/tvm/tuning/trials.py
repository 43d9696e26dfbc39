"""Trials in a child process: one that crashes or hangs costs that trial."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.tuning.search_space import Measured
from bmopt.backends.tvm.tuning.tasks import as_module
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.core.conversation import Conversation
from bmopt.errors import BmoptError, BoardError, HostError, IsolatedToolError

_MODULE = "bmopt.backends.tvm.tuning.measuring"
_OPEN_S = 120
_PROPOSE_S = 300
_LEAVE_S = 5


@dataclasses.dataclass(frozen=True)
class Where:
    """Where kernels are measured.

    Attributes:
        target: The dictionary that ``tvm.target.Target`` takes.
        board: The board as ``core.board.Board`` writes it; empty for this host.
        compiler: C++ compiler that links for the target.
        limit_s: Seconds that a trial may take.
    """

    target: Mapping[str, Any]
    board: str = ""
    compiler: str = ""
    limit_s: int = 30


class TrialError(Exception):
    """A candidate that failed; its message says how, in one line."""


class Trials:
    """Measures candidates; a context manager that ends its child."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._child: Conversation | None = None

    def time_us(self, function: Native, *, threads: int) -> float:
        """Return the microseconds of a call of a function.

        Raises:
            TrialError: It failed.
            BoardError: The board is gone.
        """
        return float(self._ask("time", default=_text(function), threads=threads))

    def compare(
        self, candidate: Native, default: Native, *, threads: int, rounds: int
    ) -> Comparison:
        """Return how a candidate compares with the default.

        Raises:
            TrialError: It failed.
            BoardError: The board is gone.
        """
        found: Comparison = self._ask(
            "compare",
            candidate=_text(candidate),
            default=_text(default),
            threads=threads,
            rounds=rounds,
        )
        return found

    def compare_libraries(
        self, candidate: Path, default: Path, *, threads: int, rounds: int
    ) -> Comparison:
        """Return how one library of a model compares with another, on seeded inputs.

        Raises:
            TrialError: They cannot be run.
        """
        paths = {"candidate": str(candidate), "default": str(default)}
        found: Comparison = self._ask("libraries", paths=paths, threads=threads, rounds=rounds)
        return found

    def propose(self, function: Native, known: Sequence[Measured], count: int) -> list[str]:
        """Return traces that TVM's search has for a function, other than those ``known``.

        Raises:
            TrialError: It has none.
        """
        found: list[str] = self._ask(
            "propose", function=_text(function), known=list(known), count=count
        )
        return found

    def _ask(self, command: str, **given: Any) -> Any:  # noqa: ANN401 - of the command
        limit = _PROPOSE_S if command == "propose" else self._where.limit_s
        child = self.open()
        try:
            return child.ask(command, timeout_s=limit, limit_s=limit, **given)
        except (BoardError, HostError):
            raise
        except BmoptError as error:
            if child.is_dead:
                self.close()
            raise TrialError(str(error)) from error

    def open(self) -> Conversation:
        """Start the child, and connect to the board, where that is not done.

        Raises:
            BoardError: The board does not answer.
            HostError: The child cannot be started.
        """
        if self._child is None:
            child = Conversation("a trial", _MODULE)
            where = self._where
            try:
                child.ask(
                    "open",
                    timeout_s=_OPEN_S,
                    target=dict(where.target),
                    board=where.board,
                    compiler=where.compiler,
                    limit_s=_OPEN_S,
                )
            except IsolatedToolError as error:
                child.close()
                raise HostError(f"kernels cannot be measured: {error}") from error
            except BaseException:
                child.close()
                raise
            self._child = child
        return self._child

    def close(self) -> None:
        """End the child; the session on a board first, whose server would mind."""
        child, self._child = self._child, None
        if child is None:
            return
        if not child.is_dead and self._where.board:
            with contextlib.suppress(BmoptError):
                child.ask("leave", timeout_s=_LEAVE_S)
        child.close()

    def __enter__(self) -> Trials:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _text(function: Native) -> str:
    return str(probe.load("tvm").ir.save_json(as_module(function)))
