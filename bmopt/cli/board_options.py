"""Options that name a board; ``bench``, ``compile`` and ``build`` share them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bmopt.errors import UsageError

if TYPE_CHECKING:
    from bmopt.core.board import Board


def add_board(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--remote``, ``--tracker`` and ``--board``; ``what`` happens on the board."""
    group = parser.add_argument_group("boards (TVM)")
    group.add_argument(
        "--remote",
        metavar="HOST:PORT",
        help=f"{what} on the board that runs TVM's RPC server there",
    )
    group.add_argument(
        "--tracker",
        metavar="HOST:PORT",
        help="ask TVM's RPC tracker there for a free board, with --board KEY",
    )
    group.add_argument(
        "--board",
        dest="board_key",
        metavar="KEY",
        help="key of the board, as its server was started with",
    )


def board_of(arguments: argparse.Namespace) -> Board | None:
    """Return the board that the user named; None for this host.

    Raises:
        UsageError: They named both ways to it, or a key alone.
    """
    from bmopt.core.board import Board

    key = arguments.board_key or ""
    if arguments.remote is not None and arguments.tracker is not None:
        raise UsageError("--remote names a board, --tracker asks for one; give one of them")
    if arguments.tracker is not None:
        return Board.parse(arguments.tracker, key=key, is_tracker=True)
    if arguments.remote is not None:
        return Board.parse(arguments.remote, key=key)
    if key:
        raise UsageError(f"--board {key}: say with --remote or --tracker where it is")
    return None


def board_text(arguments: argparse.Namespace) -> str | None:
    """Return ``board_of`` as recipes have it; None for this host."""
    board = board_of(arguments)
    return None if board is None else str(board)
