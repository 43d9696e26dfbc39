"""Engines and a pace for load scenarios that run on a scripted clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from bmopt.bench.scenarios import run_scenario
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.core.scenario import ScenarioRun, ScenarioSettings
from tests.bench.scripted import ScriptedClock

MS = 1_000_000


class Engine:
    """Calls ``act(i)`` for its i-th inference and remembers how many samples it was fed."""

    output_names = ("y",)

    def __init__(self, act: Callable[[int], object]) -> None:
        self._act = act
        self.fed: list[int] = []

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.fed.append(len(feeds["x"]))
        self._act(len(self.fed) - 1)
        return {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Script:
    """A clock, the engine that moves it, and the sleep that does so too."""

    def __init__(self, took_ms: Callable[[int], float]) -> None:
        self.clock = ScriptedClock()
        self._took_ms = took_ms
        self.engine = Engine(self._advance)

    def _advance(self, index: int) -> None:
        self.clock.now_ns += round(self._took_ms(index) * MS)

    def sleep_until(self, moment_ns: int) -> None:
        self.clock.now_ns = max(self.clock.now_ns, moment_ns)

    def run(self, settings: ScenarioSettings, **options: Any) -> ScenarioRun:
        return run_scenario(
            "A",
            [self.engine],
            samples(),
            settings,
            clock=self.clock,
            sleep_until=self.sleep_until,
            **options,
        )


def samples(count: int = 5) -> Sequence[Feeds]:
    return [{"x": np.full((1, 3), i, np.float32)} for i in range(count)]
