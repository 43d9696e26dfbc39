"""Third-party code in a child process: what dies, hangs or prints there does not do so here."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from bmopt.errors import IsolatedToolError

_TAIL_BYTES = 8192
_TAIL_LINES = 3


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        code: Its exit code; minus the signal's number where one killed it.
        late: Whether it ran out of time, and was killed for that.
        said: The end of what it printed.
    """

    code: int
    late: bool
    said: str


class IsolatedProcess:
    """A child that is running; ``wait`` for it or ``kill`` it.

    Attributes:
        name: What to call the tool in messages.
        timeout_s: Seconds it may take from its start.
    """

    def __init__(
        self,
        name: str,
        timeout_s: float,
        child: subprocess.Popen[bytes],
        output: IO[bytes],
        listen: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._child = child
        self._output = output
        self._listen = listen
        self._started_ns = time.monotonic_ns()

    def wait(self) -> str:
        """Return the end of what the child printed, once it has ended well. Call it once.

        Meanwhile each line that it prints is passed to ``listen``, if that was given.

        Raises:
            IsolatedToolError: It exited with an error, was killed by a signal, or ran out of
                time; the message has its last lines. The child's whole process group is gone
                then, as it is when the wait is interrupted.
        """
        end = self.ending()
        if end.late:
            raise IsolatedToolError(f"{self.name} took longer than {self.timeout_s:g} s")
        if end.code:
            raise IsolatedToolError(f"{self.name} {death(end.code)}{last_lines(end.said)}")
        return end.said

    def ending(self) -> Ending:
        """Wait as ``wait`` does, and return how the child ended, whatever way. Call it once."""
        left_s = self.timeout_s - (time.monotonic_ns() - self._started_ns) / 1e9
        late = threading.Event()
        # A timer and a plain wait, because a wait with a time limit polls every 50 ms.
        timer = threading.Timer(max(left_s, 0.0), self._stop_late, [late])
        timer.daemon = True
        timer.start()
        try:
            self._pass_on_lines()
            code = self._child.wait()
            said = self._tail()
        finally:
            timer.cancel()
            self._end_group()
            self.kill()
        return Ending(code, late.is_set(), said)

    def kill(self) -> None:
        """End the child and whatever it started; harmless when it has ended."""
        if self._child.returncode is None:
            self._end_group()
            self._child.wait()
        self._output.close()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _pass_on_lines(self) -> None:
        if self._listen is None or self._child.stdout is None:
            return
        for line in self._child.stdout:
            self._listen(line.decode(errors="replace").rstrip("\n"))

    def _stop_late(self, late: threading.Event) -> None:
        late.set()
        self._end_group()

    def _end_group(self) -> None:
        kill_group(self._child)

    def _tail(self) -> str:
        return tail(self._output)


def start_isolated(
    argv: Sequence[str],
    *,
    timeout_s: float,
    name: str,
    listen: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> IsolatedProcess:
    """Start ``argv`` in a process group of its own and return at once.

    Args:
        argv: The program and its arguments.
        timeout_s: Seconds it may take.
        name: What to call it in messages.
        listen: Is told each line of the child's standard output as it comes, while somebody
            waits; only the standard error is kept for messages then.
        folder: Where it runs; where this process does if not given.

    Raises:
        IsolatedToolError: The program cannot be started.
    """
    output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output if listen is None else subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            cwd=folder,
        )
    except OSError as error:
        output.close()
        raise IsolatedToolError(f"{name} cannot be started ({error.strerror})") from error
    return IsolatedProcess(name, timeout_s, child, output, listen)


def run_isolated(argv: Sequence[str], *, timeout_s: float, name: str) -> str:
    """Run ``argv`` to its end and return the end of what it printed (both streams).

    Raises:
        IsolatedToolError: See ``IsolatedProcess.wait``.
    """
    return start_isolated(argv, timeout_s=timeout_s, name=name).wait()


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads its own session, with whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def tail(output: IO[bytes]) -> str:
    """Return the end of what was written to a file."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TAIL_BYTES))
    return output.read().decode(errors="replace")


def death(code: int) -> str:
    """Return how a child ended with ``code``, as ``"was killed by SIGSEGV"``."""
    if code > 0:
        return f"failed with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def last_lines(said: str) -> str:
    """Return the last lines of what a child printed, behind a colon; empty without any."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {' | '.join(lines[-_TAIL_LINES:])}" if lines else ""
