"""Boards: other machines that run what was compiled here, and how they are reached."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from bmopt.core.runner import Runner
from bmopt.errors import UsageError

_PORTS = range(1, 1 << 16)


@dataclasses.dataclass(frozen=True)
class Board:
    """A machine that serves TVM's remote procedure calls, or a tracker that knows of some.

    Attributes:
        host: Name or address; of the tracker where ``is_tracker``.
        port: Its port.
        key: Name of the kind of board that a tracker is asked for, or that a server was started
            with; empty for a server without one.
        is_tracker: Whether ``host`` is a tracker, which says which board is free.
    """

    host: str
    port: int
    key: str = ""
    is_tracker: bool = False

    @classmethod
    def parse(cls, text: str, *, key: str = "", is_tracker: bool = False) -> Board:
        """Return the board that ``HOST:PORT`` stands for; an IPv6 address is in brackets.

        Raises:
            UsageError: It has no such form, or a tracker is given without a key.
        """
        host, colon, port = text.strip().rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        is_address = bool(colon and bare) and (bare != host or ":" not in host)
        if not is_address or not port.isascii() or not port.isdecimal() or int(port) not in _PORTS:
            raise UsageError(f"{text!r} is no board; write HOST:PORT, e.g. 192.168.1.20:9090")
        if any(char.isspace() for char in f"{bare}{key}"):
            raise UsageError(f"board {text!r} with key {key!r}: there are spaces in it")
        if is_tracker and not key:
            raise UsageError(f"tracker {text}: say with --board KEY which kind of board to use")
        return cls(bare, int(port), key, is_tracker)

    @classmethod
    def from_text(cls, text: str) -> Board:
        """Return the board that ``str`` wrote.

        Raises:
            UsageError: It has no such form.
        """
        kind, _, rest = text.rpartition(" ")
        address, _, key = rest.partition("/")
        return cls.parse(address, key=key, is_tracker=kind == "tracker")

    @property
    def address(self) -> str:
        """``HOST:PORT`` as ``parse`` takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return ``HOST:PORT/KEY``, with ``tracker`` in front of one."""
        text = f"{self.address}/{self.key}" if self.key else self.address
        return f"tracker {text}" if self.is_tracker else text


@dataclasses.dataclass(frozen=True)
class BoardFacts:
    """What a board tells of itself; what it does not tell is empty, or 0.

    Attributes:
        architecture: As ``Host.architecture`` names it.
        cpu: LLVM's name of its processor.
        cores: Cores that are switched on.
        threads: Threads that a run may use, as the server was started.
        lacking: Instruction sets that it has not, as ``Host.flags`` names them.
    """

    architecture: str = ""
    cpu: str = ""
    cores: int = 0
    threads: int = 0
    lacking: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return what it is in a few words."""
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}" if self.cores else ""
        kind = " ".join(filter(None, (self.architecture, self.cpu)))
        return ", ".join(filter(None, (kind, cores))) or "tells nothing of itself"


class BoardLink(Protocol):
    """A connection to a board; a context manager that ends it."""

    @property
    def facts(self) -> BoardFacts:
        """What the board is."""

    def use_threads(self, threads: int) -> int:
        """Have the board compute on so many threads, 0 for all; return how many those are.

        Raises:
            BoardError: The board dropped off.
        """

    def open(self, path: Path, *, threads: int = 0) -> Runner:
        """Send a library to the board and open it there; its runner is ``SelfTimed``.

        Raises:
            ArtifactError: The file is damaged, or the board cannot load it.
            BoardError: The board dropped off.
            HostError: It is for another processor than the board's.
        """

    def __enter__(self) -> BoardLink: ...  # noqa: PYI034 - Self needs Python 3.11

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Remote(Protocol):
    """An engine whose files run on other machines too."""

    def connect(self, board: Board, *, timeout_s: float) -> BoardLink:
        """Connect to a board; it serves one connection at a time.

        Raises:
            BoardError: It cannot be reached, or does not answer within ``timeout_s`` seconds.
            HostError: What is needed to reach it is not installed here.
        """
