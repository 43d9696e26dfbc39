"""A child process that answers requests: an engine that crashes or hangs takes only itself along.

Parent and child are the same program, so that requests and answers are pickled objects over a
pipe that nobody else can reach. What the child prints is kept for the message of its death.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from bmopt.core.isolate import death, kill_group, last_lines, tail
from bmopt.errors import IsolatedToolError

DONE, FAILED, TOLD = "done", "failed", "told"
"""Kinds of what a child says."""

CHILD = "bmopt.core.answering"
FIX, AS_THEY_ARE = "fix", "as-they-are"
"""What a child does with its addresses; see ``bmopt.core.addresses``."""

_LAST_BREATH_S = 5.0

Told = Callable[[Any], None]
"""Receives what a child says on its way to an answer."""

Command = Callable[..., Any]
"""Answers a request; called with what says things on the way, and the request's arguments."""


class Conversation:
    """A child that answers one request at a time; a context manager that ends it.

    Attributes:
        name: What to call it in messages.
        started_ns: When it was started, by the monotonic clock.
    """

    def __init__(self, name: str, module: str, *, fixed_addresses: bool = False) -> None:
        """Start a child that answers with what ``module``'s function ``commands`` returns.

        With ``fixed_addresses`` it asks for the same addresses that every such child has.

        Raises:
            IsolatedToolError: It cannot be started.
        """
        self.name = name
        self._death: IsolatedToolError | None = None
        self._sleeps = False
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._pipe, theirs = multiprocessing.Pipe()
        handle = theirs.fileno()
        addresses = FIX if fixed_addresses else AS_THEY_ARE
        self.started_ns = time.monotonic_ns()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", CHILD, module, str(handle), addresses],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,
                pass_fds=(handle,),
            )
        except OSError as error:
            raise IsolatedToolError(f"{name} cannot be started ({error.strerror})") from error
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """The child's process."""
        return self._child.pid

    @property
    def is_dead(self) -> bool:
        """Whether the child died, or was ended because it did not answer."""
        return self._death is not None

    def sleep_between_requests(self, *, is_wanted: bool) -> None:
        """Stop the child whenever it owes no answer, with all its threads; or let it be again.

        Thread pools of engines spin for a while after their work is done, some for milliseconds,
        and take the cores from whoever is asked next.
        """
        self._sleeps = is_wanted
        self._signal(signal.SIGSTOP if is_wanted else signal.SIGCONT)

    def ask(
        self, command: str, *, timeout_s: float, told: Told | None = None, **given: object
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        """Return the child's answer.

        Args:
            command: Which of its commands.
            timeout_s: Seconds until it answers, or says something.
            told: Receives what it says on the way.
            given: The command's arguments.

        Raises:
            BmoptError: The command raised it in the child, which goes on.
            IsolatedToolError: The child died or took too long, now or earlier; the message has
                its last lines.
        """
        if self._death is not None:
            raise self._death
        if not self._sleeps:
            return self._answer(command, timeout_s, told, given)
        self._signal(signal.SIGCONT)
        try:
            return self._answer(command, timeout_s, told, given)
        finally:
            self._signal(signal.SIGSTOP)

    def _answer(
        self, command: str, timeout_s: float, told: Told | None, given: dict[str, object]
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        try:
            self._pipe.send((command, given))
            while self._pipe.poll(timeout_s):
                kind, value = self._pipe.recv()
                if kind == DONE:
                    return value
                if kind == FAILED:
                    raise value
                if told is not None:
                    told(value)
        except (EOFError, ConnectionError):
            raise self._dead() from None
        raise self._hung(timeout_s)

    def close(self) -> None:
        """End the child and whatever it started; harmless when it has ended."""
        self._pipe.close()
        if self._child.returncode is None:
            kill_group(self._child)
            self._child.wait()
        self._output.close()

    def __enter__(self) -> Conversation:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the child and whatever it started."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def _dead(self) -> IsolatedToolError:
        """Return how the child died, which is about to end or has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(_LAST_BREATH_S)
        code = self._child.poll()
        how = "closed its pipe" if code is None else death(code) if code else "ended too early"
        return self._ended(f"{self.name} {how}{last_lines(tail(self._output))}")

    def _hung(self, timeout_s: float) -> IsolatedToolError:
        return self._ended(f"{self.name} did not answer for {timeout_s:g} s")

    def _ended(self, message: str) -> IsolatedToolError:
        kill_group(self._child)
        self._child.wait()
        self._death = IsolatedToolError(message)
        return self._death
