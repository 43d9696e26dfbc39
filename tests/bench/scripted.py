"""A clock that only moves when told, and runners that move it: timing without time."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import numpy as np

from bmopt.bench.environment import HostLoad
from bmopt.core.measurement import Environment
from bmopt.core.runner import Array, Feeds, Runner

QUIET = HostLoad(0.0, 0, 0, None)
NOWHERE = Environment({"cpu.model": "scripted"})


class ScriptedClock:
    """Nanoseconds; every reading takes ``tick_ns``."""

    def __init__(self, tick_ns: int = 0) -> None:
        self.now_ns = 1_000
        self._tick_ns = tick_ns

    def __call__(self) -> int:
        self.now_ns += self._tick_ns
        return self.now_ns


class ScriptedRunner:
    """Takes ``latency(i)`` nanoseconds for its i-th inference and writes down what it was fed."""

    output_names = ("y",)

    def __init__(
        self, name: str, clock: ScriptedClock, latency: Callable[[int], float], log: list[str]
    ) -> None:
        self._name = name
        self._clock = clock
        self._latency = latency
        self._log = log
        self.fed: list[int] = []

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self._clock.now_ns += round(self._latency(len(self.fed)))
        self.fed.append(int(feeds["x"]))
        self._log.append(self._name)
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


def noisy(base_ns: float, sigma: float, seed: int) -> Callable[[int], float]:
    """Return log-normal latencies around ``base_ns``."""
    generator = np.random.default_rng(seed)
    return lambda _: base_ns * float(np.exp(generator.normal(scale=sigma)))


def feeds(count: int = 3) -> list[Feeds]:
    return [{"x": np.array(i)} for i in range(count)]
