"""The command that decides whether a model still fails."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from bmopt.core.isolate import Ending, start_isolated
from bmopt.errors import UsageError

MODEL_MARK = "{}"
INPUTS_MARK = "{inputs}"


@dataclasses.dataclass(frozen=True)
class CheckCommand:
    """A command, and what it does to fail.

    Attributes:
        argv: The program and its arguments. ``{}`` in them stands for the model's path, which is
            appended where it does not occur; ``{inputs}`` for an ``.npz`` with values for the
            model's inputs.
        timeout_s: Seconds it may take.
        code: The exit code it fails with, minus a signal's number where one kills it; None for
            whatever it does to the whole model.
        match: A regular expression that its last 8 KB of output hold when it fails.

    Raises:
        UsageError: There is no command, or ``match`` is no regular expression.
    """

    argv: tuple[str, ...]
    timeout_s: float = 600.0
    code: int | None = None
    match: str = ""

    def __post_init__(self) -> None:
        """Check what was given."""
        if not self.argv:
            raise UsageError("there is no command to check with; write it behind --")
        if not self.timeout_s > 0.0:
            raise UsageError(f"timeout {self.timeout_s:g}: give a number of seconds above 0")
        if self.code == 0:
            raise UsageError("code 0: a command that ends with 0 has not failed")
        try:
            re.compile(self.match)
        except re.error as error:
            raise UsageError(
                f"match {self.match!r}: is no regular expression ({error})"
            ) from error

    @property
    def wants_inputs(self) -> bool:
        """Whether the command asks for values of the model's inputs."""
        return any(INPUTS_MARK in argument for argument in self.argv)

    def run(self, model: Path, inputs: Path) -> Ending:
        """Run the command in a child process on ``model``, and say how it ended.

        Raises:
            IsolatedToolError: It cannot be started.
        """
        argv = _filled(self.argv, model, inputs)
        return start_isolated(argv, timeout_s=self.timeout_s, name=self.argv[0]).ending()

    def failure(self, end: Ending) -> Failure | None:
        """Return how a run on the whole model failed, None where it did not."""
        code = end.code if self.code is None else self.code
        failure = Failure(code, late=end.late and self.code is None, match=self.match)
        failed = bool(code) or failure.late
        return failure if failed and failure.is_repeated_by(end) else None


@dataclasses.dataclass(frozen=True)
class Failure:
    """How a command fails on the whole model, and so on a part that fails the same way.

    Attributes:
        code: Its exit code; of no account where it is late.
        late: Whether it runs out of time.
        match: A regular expression in what it prints.
    """

    code: int
    late: bool = False
    match: str = ""

    def is_repeated_by(self, end: Ending) -> bool:
        """Whether a run ended like this."""
        same = end.late if self.late else not end.late and end.code == self.code
        return same and re.search(self.match, end.said) is not None

    def __str__(self) -> str:
        """Say it for a person."""
        return "runs out of time" if self.late else f"ends with {self.code}"


def last_line(end: Ending) -> str:
    """Return the last line of what a command printed that is not blank."""
    lines = [line.strip() for line in end.said.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _filled(argv: Sequence[str], model: Path, inputs: Path) -> list[str]:
    filled = [
        argument.replace(INPUTS_MARK, str(inputs)).replace(MODEL_MARK, str(model))
        for argument in argv
    ]
    named = any(MODEL_MARK in argument for argument in argv)
    return filled if named else [*filled, str(model)]
