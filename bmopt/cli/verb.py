"""What a verb is, and the parser that all verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple, NoReturn


class Verb(NamedTuple):
    """One verb of the command line.

    Attributes:
        name: The word the user types.
        summary: What it does, as a line of ``bmopt --help``.
        add_arguments: Declares its options.
        run: Does the work and returns the exit code; all heavy imports happen in it.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line; options cannot be abbreviated."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with code 2."""
        text = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {text} (see {self.prog} --help)\n")
