"""Libraries that run on a board: sent there, fed from here, timed there."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.board_facts import facts_of
from bmopt.backends.tvm.boards import connect, dropping_off
from bmopt.backends.tvm.importing import Native, line_of
from bmopt.backends.tvm.library_file import architecture_of
from bmopt.backends.tvm.names import FUNCTION, MAIN, Port, Signature
from bmopt.backends.tvm.runtime import ALL_CORES, ordered_arrays
from bmopt.core.board import Board, BoardFacts
from bmopt.core.runner import Feeds
from bmopt.errors import ArtifactError, DataError, HostError

_KEPT_FEEDS = 8
"""How many inputs to time with stay on a board."""

_SHARED = ".so"
_THREADS = "runtime.NumThreads"
_OUTPUT = "get_output"


class TvmBoard:
    """A session on a board, behind the ``BoardLink`` protocol."""

    def __init__(self, board: Board, session: Native) -> None:
        self.board = board
        self.session = session
        self._files = itertools.count()
        self._wanted, self._threads = 0, 0
        with dropping_off(board):
            self._configure = session.get_function("runtime.config_threadpool")
            self._facts = facts_of(session)

    @classmethod
    def connected(cls, board: Board, *, timeout_s: float) -> TvmBoard:
        """Connect to a board; raises as ``connect`` does."""
        return cls(board, connect(board, timeout_s=timeout_s))

    @property
    def facts(self) -> BoardFacts:
        """What the board is."""
        return self._facts

    def use_threads(self, threads: int) -> int:
        """Have the board compute on so many threads, 0 for all; return how many those are.

        A server has as many as it was started for, and never gets more.
        """
        wanted = threads or self._facts.cores or self._facts.threads
        if wanted != self._wanted:
            with dropping_off(self.board):
                self._configure(ALL_CORES, wanted)
                self._threads = int(self.session.get_function(_THREADS)())
            self._wanted = wanted
        return self._threads

    def open(self, path: Path, *, threads: int = 0) -> BoardRunner:
        """Send a library, or the objects of one, to the board and open it there.

        Raises:
            ArtifactError: The file is damaged, or the board cannot load it.
            BoardError: The board dropped off.
            HostError: It is for another processor than the board's.
        """
        if path.suffix == _SHARED:
            self._require_architecture(path)
        # A server keeps its files apart from those of other sessions only.
        name = f"bmopt_{next(self._files)}{path.suffix}"
        refusal = probe.load("tvm.error").RPCError
        try:
            with dropping_off(self.board):
                self.session.upload(str(path), name)
                machine = self._machine(name)
                signature = Signature.from_json(str(machine[FUNCTION]()))
        except (refusal, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{path}: board {self.board} cannot load it ({line_of(error)}); compile it for "
                f"{self._facts}"
            ) from error
        self._require_features(path, signature)
        return BoardRunner(self, machine, signature, threads)

    def _machine(self, name: str) -> Native:
        library = self.session.load_module(name)
        return probe.load("tvm.relax").VirtualMachine(library, self.session.cpu())

    def _require_architecture(self, path: Path) -> None:
        made_for, own = architecture_of(path), self._facts.architecture
        if own and made_for != own:
            raise HostError(f"{path}: is for {made_for}, board {self.board} is {own}")

    def _require_features(self, path: Path, signature: Signature) -> None:
        """A server does not survive an instruction that its processor has not."""
        if lacking := [flag for flag in signature.flags if flag in self._facts.lacking]:
            raise HostError(
                f"{path}: was compiled for a processor with {', '.join(lacking)}, which board "
                f"{self.board} has not; compile it for that"
            )

    def __enter__(self) -> TvmBoard:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The session ends when nothing refers to it any more, not even what waits to be collected.
        self.session = self._configure = None
        gc.collect()


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Inputs that lie on the board, under the name that calls the model with them."""

    feeds: Feeds
    name: str


class BoardRunner:
    """A library on a board behind the ``Runner`` and ``SelfTimed`` protocols."""

    def __init__(
        self, board: TvmBoard, machine: Native, signature: Signature, threads: int
    ) -> None:
        self._board = board
        self._machine = machine
        self._signature = signature
        self._threads = threads
        self._runtime = probe.load("tvm.runtime")
        self._kept: list[_Kept] = []
        self._place = 0
        self._has_run = False

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return tuple(port.name for port in self._signature.outputs)

    @property
    def signature(self) -> Signature:
        """What the library says of itself."""
        return self._signature

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """Run one inference there; raise ``DataError`` where the feeds do not fit the model."""
        with self._refusals():
            self._machine.set_input(MAIN, *self._sent(feeds))
            self._machine.invoke_stateful(MAIN)
            output = self._machine.module[_OUTPUT]
            return {
                name: output(MAIN, index).numpy() for index, name in enumerate(self.output_names)
            }

    def timed_runs(self, feeds: Feeds, count: int) -> Sequence[int]:
        """Return how long each of ``count`` runs in a row took there, in nanoseconds."""
        with self._refusals():
            name = self._saved(feeds)
            timer = self._machine.time_evaluator(
                name, self._board.session.cpu(), number=1, repeat=count
            )
            return [round(seconds * 1e9) for seconds in timer().results]

    def _sent(self, feeds: Feeds) -> list[Native]:
        self._board.use_threads(self._threads)
        device = self._board.session.cpu()
        ports: tuple[Port, ...] = self._signature.inputs
        return [self._runtime.tensor(array, device) for array in ordered_arrays(ports, feeds)]

    def _saved(self, feeds: Feeds) -> str:
        """Return the name that calls the model with ``feeds``, sent there unless they are."""
        for kept in self._kept:
            if kept.feeds is feeds:
                self._board.use_threads(self._threads)
                return kept.name
        name = f"bmopt_timed_{self._place}"
        self._machine.save_function(MAIN, name, *self._sent(feeds), include_return=False)
        self._kept[self._place : self._place + 1] = [_Kept(feeds, name)]
        self._place = (self._place + 1) % _KEPT_FEEDS
        return name

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        refusal = probe.load("tvm.error").RPCError
        flags = ", ".join(self._signature.flags)
        advice = "" if self._has_run or not flags else f" in its first run, which needs {flags}"
        try:
            with dropping_off(self._board.board, advice):
                yield
            self._has_run = True
        except refusal as error:
            raise DataError(
                f"board {self._board.board} cannot run these inputs ({line_of(error)})"
            ) from error

    def __enter__(self) -> BoardRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._machine = None
        self._kept.clear()
