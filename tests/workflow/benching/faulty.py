"""Workers whose engines misbehave as the file's name says: ``crash-40.onnx``, ``slow-3.onnx``.

``crash-N`` dies of a signal in its N-th inference, ``hang-N`` never ends it, ``fail-N`` raises,
``slow-N`` is busy N per cent longer in every inference. ``warmed-crash-N`` counts once the first
trial of a scenario, its warm-up, has ended.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from bmopt.bench.clock import MONOTONIC
from bmopt.core.conversation import Command, Told
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.core.scenario import ScenarioRun, ScenarioSettings
from bmopt.errors import DataError
from bmopt.workflow.benching.opened import Opened
from bmopt.workflow.benching.worker import Engine

FAULT = re.compile(r"(?P<late>warmed-)?(?P<what>crash|hang|fail|slow)-(?P<number>\d+)")


class FaultyRunner:
    """A runner that misbehaves."""

    def __init__(self, runner: Runner, what: str, number: int) -> None:
        self._runner = runner
        self._what = what
        self._number = number
        self._count = 0
        self.is_armed = True
        self.output_names = runner.output_names

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self._count += self.is_armed
        if self._what == "slow":
            return self._slowed(feeds)
        if self.is_armed and self._count == self._number:
            if self._what == "crash":
                print("the engine's last words", flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
            if self._what == "hang":
                time.sleep(600.0)
            raise DataError("the engine gave up")
        return self._runner.run(feeds)

    def _slowed(self, feeds: Feeds) -> dict[str, Array]:
        start = MONOTONIC()
        outputs = self._runner.run(feeds)
        end = MONOTONIC()
        until = end + (end - start) * self._number // 100
        while MONOTONIC() < until:
            pass
        return outputs

    def __enter__(self) -> FaultyRunner:  # noqa: PYI034
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)


class FaultyEngine(Engine):
    """Opens models whose file names ask for it as ``FaultyRunner``; counts across openings."""

    def __init__(self) -> None:
        super().__init__()
        self._fault: re.Match[str] | None = None
        self._last: FaultyRunner | None = None

    def open(self, tell: Told, *, text: str, threads: int, any_host: bool) -> Opened:
        self._fault = FAULT.search(Path(text).name)
        return super().open(tell, text=text, threads=threads, any_host=any_host)

    def scenario(
        self, tell: Told, *, name: str, settings: ScenarioSettings, samples_per_feed: int
    ) -> ScenarioRun:
        def told(trial: object) -> None:
            tell(trial)
            if self._last is not None:
                self._last.is_armed = True

        return super().scenario(
            told, name=name, settings=settings, samples_per_feed=samples_per_feed
        )

    def _wrapped(self, runner: Runner) -> Runner:
        if self._fault is None:
            return runner
        made = FaultyRunner(runner, self._fault["what"], int(self._fault["number"]))
        made._count = 0 if self._last is None else self._last._count
        made.is_armed = not self._fault["late"]
        self._last = made
        return made


def commands() -> Mapping[str, Command]:
    return FaultyEngine().commands()
