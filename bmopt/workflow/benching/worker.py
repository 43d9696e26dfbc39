"""What the process of one subject answers.

What is timed is timed here, by the loop of ``bmopt.bench``; the parent decides whose turn it is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bmopt.bench.clock import MONOTONIC
from bmopt.bench.far_lane import lane_of
from bmopt.bench.schedule import Lane, timed, warm_up
from bmopt.core.bench_document import Energy, LayerTimes
from bmopt.core.conversation import Command, Told
from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.core.scenario import ScenarioRun, ScenarioSettings
from bmopt.workflow.benching.opened import Opened, opened
from bmopt.workflow.subjects import Subject, open_subject, runner_opener

Stamps = npt.NDArray[np.int64]

_BALLAST = 300_000
_PIECES = 20
# The first inference sets up memory, the second is the first to use it as all others will.
_SETTLING = 2


class Engine:
    """A subject in this process, and what it is fed; its public methods are the commands."""

    def __init__(self) -> None:
        self._subject: Subject | None = None
        self._runner: Runner | None = None
        self._opener: Callable[[], Runner] | None = None
        self._feeds: tuple[Feeds, ...] = ()
        self._lane: Lane | None = None
        self._ballast: list[bytearray] = []
        self._threads = 0

    def commands(self) -> Mapping[str, Command]:
        """Return every command by its name."""
        names = (
            "open",
            "feed",
            "move",
            "warm_up",
            "block",
            "reopen",
            "run",
            "cost",
            "scenario",
            "throughput",
            "energy",
            "device",
            "layers",
            "latency_table",
        )
        return {name: getattr(self, name) for name in names}

    def open(self, tell: Told, *, text: str, threads: int, any_host: bool) -> Opened:
        """Open a subject."""
        del tell
        self._threads = threads
        self._subject = open_subject(text, threads=threads, any_host=any_host)
        self._runner = self._wrapped(self._subject.runner)
        self._opener = runner_opener(text, threads=threads, any_host=any_host)
        return opened(self._subject)

    def feed(self, tell: Told, *, feeds: Sequence[Feeds]) -> None:
        """Take the inputs that are used in rotation."""
        del tell
        self._feeds = tuple(self._fitted(one) for one in feeds)
        self._lane = lane_of("", self._open_runner, self._feeds)

    def reopen(self, tell: Told, *, seed: int) -> int:
        """Close the model and open it again elsewhere in memory; return nanoseconds it took.

        Where weights, buffers and inputs happen to lie moves a latency by up to a per cent, as
        long as the process lives. Ballast of random sizes moves everything a little (after C.
        Curtsinger and E. D. Berger, "Stabilizer: statistically sound performance evaluation",
        ASPLOS 2013).
        """
        del tell
        start = MONOTONIC()
        assert self._opener is not None
        generator = np.random.default_rng(seed)
        runner, self._runner, self._lane = self._open_runner, None, None
        runner.__exit__(None, None, None)
        del runner
        self._ballast = [bytearray(int(n)) for n in generator.integers(1, _BALLAST, _PIECES)]
        self._runner = self._wrapped(self._opener())
        self._feeds = tuple({k: array.copy() for k, array in f.items()} for f in self._feeds)
        self._lane = lane_of("", self._open_runner, self._feeds)
        for feed in itertools.islice(itertools.cycle(self._feeds), _SETTLING):
            self._open_runner.run(feed)
        return MONOTONIC() - start

    def move(self, tell: Told, *, cpus: Sequence[int]) -> None:
        """Let all threads of this process run on these CPUs only."""
        del tell
        for task in Path("/proc/self/task").iterdir():
            # A thread may end between the two.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cpus)

    def warm_up(self, tell: Told, *, limit_ns: int) -> int:
        """Run until the latency stops falling; return how many inferences that took."""
        del tell
        return warm_up(self._fed, MONOTONIC, limit_ns)

    def block(self, tell: Told, *, least_ns: int) -> tuple[Stamps, Stamps]:
        """Run a block; return starts and latencies."""
        del tell
        return timed(self._fed, MONOTONIC, least_ns)

    def run(self, tell: Told, *, feeds: Feeds) -> dict[str, Array]:
        """Run one inference."""
        del tell
        return dict(self._open_runner.run(self._fitted(feeds)))

    def cost(
        self, tell: Told, *, text: str, threads: int, any_host: bool, feeds: Sequence[Feeds]
    ) -> Mapping[str, int | None]:
        """Open a subject, run it a few times, and return what that cost this process."""
        del tell
        from bmopt.workflow.benching.cold_start import cold_start

        return cold_start(text, threads, feeds, any_host=any_host)

    def scenario(
        self, tell: Told, *, name: str, settings: ScenarioSettings, samples_per_feed: int
    ) -> ScenarioRun:
        """Run a load scenario; every trial is told when it has ended."""
        from bmopt.bench.query_pool import concatenation
        from bmopt.bench.scenarios import run_scenario

        assert self._opener is not None
        with contextlib.ExitStack() as stack:
            others = range(1, settings.concurrency)
            more = [self._wrapped(stack.enter_context(self._opener())) for _ in others]
            return run_scenario(
                name,
                [self._open_runner, *more],
                self._feeds,
                settings,
                batch_of=concatenation(self._inputs),
                samples_per_feed=samples_per_feed,
                told=tell,
            )

    def throughput(self, tell: Told, *, batch: int, length_s: float) -> Stamps | None:
        """Return the latencies of inferences of ``batch`` samples; None where there are none."""
        del tell
        from bmopt.bench.query_pool import concatenation, queries_of

        queries, batched = queries_of(self._feeds, batch, concatenation(self._inputs))
        if batch > 1 and not batched:
            return None
        lane = lane_of("", self._open_runner, [query[0] for query in queries])
        warm_up(lane, MONOTONIC, round(length_s * 1e9))
        return timed(lane, MONOTONIC, round(length_s * 1e9))[1]

    def energy(self, tell: Told, *, name: str, length_s: float) -> tuple[Energy, ...]:
        """Return the energy of an inference by every meter there is."""
        del tell
        from bmopt.bench.energy import measure_energy, meters

        run = self._open_runner.run
        return measure_energy(name, run, self._feeds, meters(), seconds=length_s)

    def device(self, tell: Told) -> int | None:
        """Return the median time between device events, None where there are none."""
        del tell
        from bmopt.workflow.measuring import device_median_ns

        return device_median_ns(self._open_runner, self._feeds)

    def layers(
        self, tell: Told, *, name: str, source: Path | None, length_s: float
    ) -> LayerTimes | None:
        """Return where the time goes; None where the engine does not tell."""
        del tell
        from bmopt.workflow.benching.profiled_layers import profiled

        assert self._subject is not None
        return profiled(self._subject, name, source, self._feeds, self._threads, length_s)

    def latency_table(self, tell: Told, *, source: Path | None, length_s: float) -> str:
        """Return the latency table of this artifact and the float model ``source``, as text."""
        del tell
        from bmopt.workflow.benching.probed_table import probed

        assert self._subject is not None
        return probed(self._subject, source, self._feeds, self._threads, length_s).to_json()

    def _wrapped(self, runner: Runner) -> Runner:
        """Return what runs in the runner's place: itself, but for tests and benchmarks of ours."""
        return runner

    @property
    def _open_runner(self) -> Runner:
        assert self._runner is not None, "open the subject first"
        return self._runner

    @property
    def _inputs(self) -> tuple[InputSpec, ...]:
        assert self._subject is not None, "open the subject first"
        return self._subject.inputs

    @property
    def _fed(self) -> Lane:
        assert self._lane is not None, "feed the subject first"
        return self._lane

    def _fitted(self, feeds: Feeds) -> Feeds:
        from bmopt.workflow.shared_inputs import fitted_feeds

        return fitted_feeds(feeds, self._inputs)


def commands() -> Mapping[str, Command]:
    """Return what the process answers; see ``bmopt.core.conversation``."""
    return Engine().commands()
