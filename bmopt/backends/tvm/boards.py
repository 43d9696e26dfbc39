"""Connections to boards, over TVM's remote procedure calls."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native, line_of
from bmopt.core.board import Board
from bmopt.errors import BoardError

_SERVER = "python -m tvm.exec.rpc_server"

_T = TypeVar("_T")


def connect(board: Board, *, timeout_s: float) -> Native:
    """Return a session on a board: TVM's own, with ``upload``, ``load_module``, ``cpu`` ...

    A server has one session at a time and keeps others waiting without a word, as does a server
    whose last session crashed; ``timeout_s`` (seconds) ends that.

    Raises:
        BoardError: Nobody is there, nobody answers, or no such key is known.
        HostError: TVM is not installed here.
    """
    rpc = probe.load("tvm.rpc")
    _require_listener(board, timeout_s)
    open_session = _through_tracker if board.is_tracker else _directly
    return _within(lambda: open_session(rpc, board), board, timeout_s)


def _directly(rpc: Native, board: Board) -> Native:
    return rpc.connect(board.host, board.port, board.key)


def _through_tracker(rpc: Native, board: Board) -> Native:
    tracker = rpc.connect_tracker(board.host, board.port)
    known = {one["key"].removeprefix("server:") for one in tracker.summary()["server_info"]}
    if board.key not in known:
        there = f"it has {', '.join(sorted(known))}" if known else "it has none"
        raise BoardError(f"{_named(board)}: the tracker knows no board {board.key!r}; {there}")
    return tracker.request(board.key, max_retry=1)


def _require_listener(board: Board, timeout_s: float) -> None:
    """Find out in the kernel's own words why nobody is there; TVM retries, or tells no reason."""
    what = "tracker" if board.is_tracker else "board"
    try:
        # Servers take a connection that says nothing for none.
        socket.create_connection((board.host, board.port), timeout=timeout_s).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        start = "python -m tvm.exec.rpc_tracker" if board.is_tracker else _SERVER
        raise BoardError(
            f"{what} {board.address}: cannot be reached ({reason}); "
            f"start '{start} --port {board.port}' there"
        ) from error


def _within(action: Callable[[], _T], board: Board, timeout_s: float) -> _T:
    """Return what ``action`` returns; it is left behind where it takes longer than allowed."""
    found: list[_T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            found.append(action())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if found:
        return found[0]
    if errors:
        raise _refusal(board, errors[0]) from errors[0]
    raise BoardError(
        f"{_named(board)}: did not answer for {timeout_s:g} s: another session is on it, or its "
        "server has to be started again"
    )


def _named(board: Board) -> str:
    return str(board) if board.is_tracker else f"board {board}"


def _refusal(board: Board, error: Exception) -> BoardError:
    if isinstance(error, BoardError):
        return error
    line, name = line_of(error), _named(board)
    if "matches key" in line:
        key = f"has another key than {board.key!r}" if board.key else "has a key"
        return BoardError(f"{name}: the server there {key}; give the one it was started with")
    return BoardError(f"{name}: is no {'tracker' if board.is_tracker else 'server'} ({line})")


@contextlib.contextmanager
def dropping_off(board: Board, advice: str = "") -> Iterator[None]:
    """Turn the end of a connection into one line; what the board itself refuses passes through.

    Raises:
        BoardError: The board dropped off.
    """
    refusal = probe.load("tvm.error").RPCError
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, refusal):
            raise
        raise BoardError(f"{_named(board)}: dropped off{advice} ({line_of(error)})") from error
