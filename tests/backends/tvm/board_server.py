"""Servers and trackers of TVM's remote procedure calls, as processes on this host."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmopt.core.board import Board

needs_tracker = pytest.mark.skipif(
    importlib.util.find_spec("tornado") is None, reason="TVM's tracker needs tornado"
)

_PATIENCE_S = 30.0


class Server:
    """A server or tracker, and all that it started.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self._log = folder / f"{kind}-{self.port}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", f"tvm.exec.{kind}", "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--port-end", str(self.port + 1), *options),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def board(self, key: str = "") -> Board:
        """Return where it is."""
        return Board("127.0.0.1", self.port, key)

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while b"bind to" not in self._log.read_bytes():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise RuntimeError(self._log.read_text(encoding="utf-8"))
            time.sleep(0.05)


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Run a server; its log is in ``folder``."""
    yield from _running("rpc_server", folder, options)


@contextlib.contextmanager
def tracking(folder: Path) -> Iterator[Server]:
    """Run a tracker; its log is in ``folder``."""
    yield from _running("rpc_tracker", folder, ())


def _running(kind: str, folder: Path, options: tuple[str, ...]) -> Iterator[Server]:
    server = Server(kind, folder, *options)
    try:
        yield server
    finally:
        server.kill()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
