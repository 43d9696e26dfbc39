"""The parent's side of the processes that subjects and samples live in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from bmopt.bench.schedule import Stamps
from bmopt.core.bench_document import TensorSqnr
from bmopt.core.conversation import Conversation, Told
from bmopt.core.dataset import Batch
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BmoptError
from bmopt.workflow.benching.opened import Opened
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.sampler import Fed, OpenedSamples

WORKER = "bmopt.workflow.benching.worker"
_SAMPLER = "bmopt.workflow.benching.sampler"


class Worker:
    """A subject in a process of its own; a context manager that ends it.

    Attributes:
        name: What the document calls the subject.
        text: What the user wrote.
    """

    def __init__(
        self,
        name: str,
        text: str,
        options: BenchOptions,
        module: str = WORKER,
        *,
        fixed_addresses: bool = True,
    ) -> None:
        self.name = name
        self.text = text
        self._options = options
        self._talk = Conversation(f"{text}: its process", module, fixed_addresses=fixed_addresses)
        self._opened: Opened | None = None

    @property
    def started_ns(self) -> int:
        """When its process was started, by the monotonic clock."""
        return self._talk.started_ns

    @property
    def is_dead(self) -> bool:
        """Whether its process died, or was ended because it did not answer."""
        return self._talk.is_dead

    @property
    def on_board(self) -> bool:
        """Whether it runs on another machine."""
        return False

    @property
    def opened(self) -> Opened:
        """What was opened."""
        assert self._opened is not None, "open the subject first"
        return self._opened

    def open(self, threads: int | None = None) -> Opened:
        """Open the subject; errors as of ``open_subject``, and ``IsolatedToolError``."""
        self._opened = self.ask(
            "open",
            text=self.text,
            threads=self._options.threads if threads is None else threads,
            any_host=self._options.any_host,
        )
        return self.opened

    def sleep_between_requests(self, *, is_wanted: bool) -> None:
        """See ``Conversation.sleep_between_requests``."""
        self._talk.sleep_between_requests(is_wanted=is_wanted)

    def as_fed(self) -> Fed:
        """Return the subject as samples are opened for it."""
        return Fed(self.text, self.opened.inputs, self.opened.graph)

    def ask(
        self, command: str, *, seconds: float = 0.0, told: Told | None = None, **given: object
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        """Return the answer to a command that takes ``seconds`` where all is well."""
        limit_s = self._options.timeout_s + seconds
        return self._talk.ask(command, timeout_s=limit_s, told=told, **given)

    def __enter__(self) -> Worker:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._talk.close()


class RemoteVariant:
    """A worker that takes turns with others."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._fault: BmoptError | None = None

    def prepare(self, command: str, **given: Any) -> Any:  # noqa: ANN401 - whatever the command takes and returns
        """Ask for something before a turn; None where it fails, and the turn will tell."""
        try:
            return self._worker.ask(command, **given)
        except BmoptError as error:
            self._fault = error
            return None

    @property
    def name(self) -> str:
        """The subject's name."""
        return self._worker.name

    def warm_up(self, limit_ns: int) -> int:
        """Run until the latency stops falling; return how many inferences that took."""
        return int(self._worker.ask("warm_up", seconds=limit_ns / 1e9, limit_ns=limit_ns))

    def block(self, least_ns: int) -> tuple[Stamps, Stamps]:
        """Run a block; return starts and latencies."""
        if self._fault is not None:
            raise self._fault
        found: tuple[Stamps, Stamps] = self._worker.ask(
            "block", seconds=least_ns / 1e9, least_ns=least_ns
        )
        return found


class RemoteRunner:
    """A worker as a runner, for what is not timed."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @property
    def output_names(self) -> tuple[str, ...]:
        """Not told; what a run returns has them."""
        return ()

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference in the worker's process."""
        outputs: dict[str, Array] = self._worker.ask("run", feeds=dict(feeds))
        return outputs

    def __enter__(self) -> RemoteRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the worker as it is: others use it."""


class RemoteSamples:
    """Samples that a process of their own reads; a data set, and a context manager."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._talk = Conversation("the process that reads the samples", _SAMPLER)
        self._found: OpenedSamples | None = None

    def open(self, models: Sequence[Fed]) -> OpenedSamples:
        """Open samples that all models can be fed with.

        Raises:
            DataError: The samples are missing or do not fit.
            IsolatedToolError: The process died or took too long.
        """
        found: OpenedSamples = self._ask(
            "open",
            models=models,
            data=self._options.data,
            options=self._options.samples,
            shapes=self._options.shapes,
        )
        self._found = found
        return found

    @property
    def opened(self) -> OpenedSamples:
        """What was opened."""
        assert self._found is not None, "open the samples first"
        return self._found

    @property
    def name(self) -> str:
        """Where the samples come from, as the user wrote it."""
        return self.opened.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the samples' source and preprocessing."""
        return self.opened.fingerprint

    @property
    def size(self) -> int:
        """How many samples there are."""
        return self.opened.size

    @property
    def has_labels(self) -> bool:
        """Whether batches carry labels."""
        return self.opened.has_labels

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches; one iteration at a time."""
        self._ask("begin", batch_size=batch_size)
        while (batch := self._ask("next")) is not None:
            yield batch

    def layer_noise(self, reference: Opened, candidate: Opened) -> tuple[TensorSqnr, ...]:
        """Return the signal-to-noise ratio of every tensor that both graphs compute.

        Raises:
            ModelError: There is none, or the engine refuses a graph.
            IsolatedToolError: The process died or took too long.
        """
        models = tuple(Fed(one.text, one.inputs, one.graph) for one in (reference, candidate))
        found: tuple[TensorSqnr, ...] = self._ask("layer_noise", models=models)
        return found

    def __enter__(self) -> RemoteSamples:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._talk.close()

    def _ask(self, command: str, **given: Any) -> Any:  # noqa: ANN401 - whatever the command takes and returns
        return self._talk.ask(command, timeout_s=self._options.timeout_s, **given)
