"""A benchmark on its way: who is still in it, what has been found, what went wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from bmopt import __version__
from bmopt.bench.environment import describe
from bmopt.core.bench_document import BenchDocument, Subject
from bmopt.core.latency_table import LatencyTable
from bmopt.core.measurement import Fact
from bmopt.core.runner import Feeds
from bmopt.errors import BmoptError, UsageError
from bmopt.workflow.benching.board_hub import BoardHub, BoardWorker
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.workers import WORKER, RemoteSamples, Worker
from bmopt.workflow.boards import runs_on_boards
from bmopt.workflow.progress import Progress

_T = TypeVar("_T")


class Session:
    """What the sections of a benchmark share and add to.

    Attributes:
        options: How it is measured.
        progress: Is told what goes on.
        samples: What everything is fed with.
        document: What was found so far.
        failures: Subject -> what ended it, in one line.
        problems: What could not be measured though every subject is well, such as accuracy
            without labels; in one line each.
        notes: What else a reader should know; in one line each.
        comparisons: Candidate -> its metrics beside the reference's.
        latency_table: What the parts of the model take, where that was asked for.
    """

    def __init__(
        self,
        texts: Sequence[str],
        options: BenchOptions,
        progress: Progress,
        stack: contextlib.ExitStack,
        command: str,
        module: str = WORKER,
    ) -> None:
        self.options = options
        self.progress = progress
        self.samples = stack.enter_context(RemoteSamples(options))
        self.failures: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.comparisons: dict[str, Any] = {}
        self.latency_table: LatencyTable | None = None
        self._hub: BoardHub | None = None
        self._stack = stack
        self._module = module
        self._workers: dict[str, Worker] = {}
        self.document = BenchDocument(
            command=command,
            created=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            bmopt=__version__,
            subjects=tuple(Subject(name, text) for name, text in named(texts)),
        )

    @property
    def names(self) -> list[str]:
        """All subjects, in order."""
        return [subject.name for subject in self.document.subjects]

    @property
    def workers(self) -> list[Worker]:
        """The processes of the subjects that have not failed, in order."""
        return [
            self._workers[name]
            for name in self.names
            if name in self._workers and name not in self.failures
        ]

    @property
    def reference(self) -> Worker:
        """What the others are compared with: the first that has not failed."""
        return self.workers[0]

    @property
    def feeds(self) -> tuple[Feeds, ...]:
        """Inputs to be used in rotation."""
        return tuple(batch.feeds for batch in self.samples.opened.pool)

    def start(self, name: str, text: str) -> Worker:
        """Start a process for a subject; it ends with the session at the latest."""
        return self._stack.enter_context(self.process(name, text))

    def connect(self) -> None:
        """Connect to the board where subjects are to run on one.

        Raises:
            BoardError: It cannot be reached, or does not answer.
            UsageError: No subject can run there.
        """
        board = self.options.board
        if board is None:
            return
        if not any(runs_on_boards(subject.spec) for subject in self.document.subjects):
            raise UsageError(f"board {board}: no subject is an artifact compiled for tvm-*")
        self.progress.step(f"connecting to {board}")
        hub = BoardHub(board, timeout_s=self.options.timeout_s)
        self._hub = self._stack.enter_context(hub)
        self.add_facts(
            {
                "board.address": str(board),
                "board.architecture": hub.facts.architecture,
                "board.cpu": hub.facts.cpu,
                "board.cores": hub.facts.cores,
            }
        )

    def ran_on_board(self, name: str) -> bool:
        """Whether a subject runs, or ran, on another machine."""
        return name in self._workers and self._workers[name].on_board

    @property
    def board_threads(self) -> int:
        """How many threads the board's server has; 0 where there is no board."""
        return 0 if self._hub is None else self._hub.facts.threads

    def process(self, name: str, text: str, *, fixed_addresses: bool = True) -> Worker:
        """Start a process for a subject; a context manager that ends it."""
        if self._hub is not None and runs_on_boards(text):
            return BoardWorker(name, text, self.options, self._hub)
        return Worker(name, text, self.options, self._module, fixed_addresses=fixed_addresses)

    def keep(self, worker: Worker) -> None:
        """Make a process the one of its subject."""
        self._workers[worker.name] = worker

    def put(self, **sections: object) -> None:
        """Put what was found into the document."""
        self.document = dataclasses.replace(self.document, **sections)  # type: ignore[arg-type]

    def add_facts(self, facts: Mapping[str, Fact]) -> None:
        """Add facts to the document's environment."""
        self.put(environment={**self.document.environment, **facts})

    def describe(self) -> None:
        """Write down where this runs."""
        facts = describe({"intra_op": self.options.threads}).facts
        self.put(environment={**facts, **self.document.environment})

    def fail(self, name: str, error: BmoptError) -> None:
        """Leave a subject out from here on; the first error counts."""
        line = " ".join(str(error).split())
        if name not in self.failures:
            self.failures[name] = line
            self.put(
                subjects=tuple(
                    dataclasses.replace(subject, error=line) if subject.name == name else subject
                    for subject in self.document.subjects
                )
            )

    def here(self, what: str) -> list[Worker]:
        """Return the workers that run on this host; note that the others have no ``what``."""
        far = [worker.name for worker in self.workers if worker.on_board]
        if far:
            self.notes.append(f"{what}: not measured on boards, so not of {', '.join(far)}")
        return [worker for worker in self.workers if not worker.on_board]

    def each(
        self, action: Callable[[Worker], _T], among: Sequence[Worker] | None = None
    ) -> Iterator[tuple[Worker, _T]]:
        """Yield what ``action`` returns for every worker; those that fail are left out."""
        workers = self.workers if among is None else among
        for index, worker in enumerate(workers):
            try:
                found = action(worker)
            except BmoptError as error:
                self.fail(worker.name, error)
                continue
            yield worker, found
            self.progress.advance(index + 1, len(workers))


def named(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return (name, text) of every subject: short where that tells them apart."""
    short = [_short(text) for text in texts]
    chosen = [
        name if all(texts[i] == text for i, other in enumerate(short) if other == name) else text
        for name, text in zip(short, texts, strict=True)
    ]
    return [
        (name if chosen.index(name) == index else _again(name, chosen[:index].count(name)), text)
        for index, (name, text) in enumerate(zip(chosen, texts, strict=True))
    ]


def _short(text: str) -> str:
    """Return the last part of a path, with the engine in front where one is named."""
    engine, colon, file = text.partition(":")
    named_engine = colon and engine.isalnum() and not engine.isupper()
    head, path = (f"{engine}:", file) if named_engine else ("", text)
    return head + (path.rstrip("/").rpartition("/")[2] or path)


def _again(name: str, count: int) -> str:
    return f"{name} #{count + 1}"
