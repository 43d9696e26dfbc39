"""Parts that the tables of a benchmark are put together from."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence

from bmopt.bench.quantities import MINUS, NONE
from bmopt.bench.statements import Statement
from bmopt.cli.output import print_table, say

LACKING = "-"
"""Where there is no number."""

STYLES = {"good": "green", "bad": "bold red", "same": "", "open": "yellow"}
"""Tone of a statement -> its style on a terminal."""

_PLAIN = str.maketrans({MINUS: "-", "∞": "inf"})


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of text; on a terminal it is wrapped, and what follows is indented further."""

    text: str
    style: str = ""
    indent: int = 0

    def show(self) -> None:
        """Print it."""
        text = " " * self.indent + plain(self.text)
        if sys.stdout.isatty():
            width = max(40, shutil.get_terminal_size().columns)
            text = textwrap.fill(text, width, subsequent_indent=" " * (self.indent + 2))
        say(text, style=self.style)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; columns that no row has anything in are left out, but for the first one."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()

    def show(self) -> None:
        """Print it; nothing without rows."""
        rows = [tuple(map(plain, row)) for row in self.rows]
        kept = [
            index
            for index in range(len(self.headers))
            if index == 0 or any(row[index] not in ("", LACKING) for row in rows)
        ]
        print_table(
            [self.headers[index] for index in kept],
            [[row[index] for index in kept] for row in rows],
            right=[place for place, index in enumerate(kept) if index in self.right],
        )


Part = Line | Table


def told(statement: Statement, *, indent: int = 0) -> Line:
    """Return a statement with its verdict in front, unless it begins with it."""
    word, text = statement.word, statement.sentence
    shown = text if text.startswith(word) else f"{word}: {text}"
    return Line(shown, STYLES[statement.tone], indent)


def plain(text: str) -> str:
    """Return text in one line, as every terminal and every pipe can show it."""
    if text == NONE:
        return LACKING
    return " ".join(text.split()).translate(_PLAIN).replace("µs", "us")


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, the middle left out."""
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"
