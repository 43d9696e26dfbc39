"""What goes to stdout: tables and lines for people, or one JSON document.

In a pipe everything is plain text of any width, so that nothing is cut or wrapped and ``rich``
is not even imported; on a terminal ``rich`` fits it to the width and colours it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

_GAP = "  "


def print_json(document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one JSON document; numbers that JSON lacks become ``"inf"``, ``"-inf"``, ``"nan"``."""
    print(json.dumps(plain(document), indent=1, allow_nan=False))


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return ``value`` as JSON can hold it: tuples as lists, paths and odd numbers as strings."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, PurePath) else value


def say(text: str = "", *, style: str = "") -> None:
    """Print a line; ``style`` is for terminals."""
    if sys.stdout.isatty():
        _console().print(text, style=style or None)
    else:
        print(text)


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> None:
    """Print a table; columns in ``right`` are numbers. Nothing is printed without rows."""
    if not rows:
        return
    if sys.stdout.isatty():
        _print_rich(headers, rows, right)
        return
    table = [tuple(map(_one_line, row)) for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(_GAP.join(cells).rstrip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)


def _print_rich(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int]
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, header in enumerate(headers):
        justify: Literal["left", "right"] = "right" if index in right else "left"
        table.add_column(header, justify=justify, overflow="fold", no_wrap=index in right)
    for row in rows:
        table.add_row(*map(_one_line, row))
    _console().print(table)
