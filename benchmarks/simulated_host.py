"""A host that exists in a clock only: what disturbs a shared machine, reproducible.

The clock is moved by the work that is asked for; how long the work takes depends on when it is
done, which is what makes disturbances hit neighbours in time alike.
"""

from __future__ import annotations

import dataclasses
from types import TracebackType

import numpy as np

from bmopt.core.runner import Array, Feeds, Runner

_STEP_NS = 1_000_000
_HORIZON_S = 200.0
_DRAWS = 8192
_TICK_NS = 30


@dataclasses.dataclass(frozen=True)
class Noise:
    """What disturbs the work; all slow-downs multiply.

    Attributes:
        jitter: Scale of the half-normal logarithm that is drawn anew for every inference.
        bursts_per_s: How often other load comes, at random moments.
        burst_s: Mean length of a burst, which is exponential.
        burst_slow_down: The most that a burst adds, as a fraction; each adds a tenth at least.
        drift: Added every ten seconds, linearly.
        wave: Height of a wave with a period of four seconds.
        steps: The clock moves by up to this fraction, to and fro about once a second.
        spikes: Share of inferences that take several times as long, Pareto with index 1.5.
    """

    jitter: float = 0.02
    bursts_per_s: float = 0.0
    burst_s: float = 0.1
    burst_slow_down: float = 0.8
    drift: float = 0.0
    wave: float = 0.0
    steps: float = 0.0
    spikes: float = 0.0


NOISES = {
    "quiet": Noise(),
    "bursts": Noise(bursts_per_s=2.0),
    "long bursts": Noise(bursts_per_s=0.5, burst_s=0.5),
    "drift": Noise(drift=0.1, wave=0.05),
    "clock steps": Noise(steps=0.08),
    "spikes": Noise(spikes=0.02),
    "all at once": Noise(0.05, 2.0, 0.15, 0.8, 0.05, 0.05, 0.05, 0.01),
}


class SimulatedHost:
    """The clock, and the work that moves it."""

    def __init__(self, noise: Noise, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._slow_down = _slow_down(noise, generator).tolist()
        jitter = np.exp(np.abs(generator.normal(scale=noise.jitter, size=_DRAWS)))
        heavy = generator.uniform(size=_DRAWS) < noise.spikes
        jitter *= np.where(heavy, 1.0 + generator.pareto(1.5, size=_DRAWS), 1.0)
        self._jitter = jitter.tolist()
        self._inferences = 0
        self.now_ns = 0

    def __call__(self) -> int:
        """Return nanoseconds; reading them takes time, as it does."""
        self.now_ns += _TICK_NS
        return self.now_ns

    def work(self, quiet_ns: float) -> None:
        """Do what takes ``quiet_ns`` where nothing disturbs it."""
        self._inferences += 1
        slow_down = self._slow_down[self.now_ns // _STEP_NS % len(self._slow_down)]
        self.now_ns += round(quiet_ns * slow_down * self._jitter[self._inferences % _DRAWS])


class SimulatedRunner:
    """A model on a simulated host."""

    output_names = ("y",)

    def __init__(self, host: SimulatedHost, quiet_ns: float) -> None:
        self._host = host
        self._quiet_ns = quiet_ns

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Take the time that an inference takes."""
        del feeds
        self._host.work(self._quiet_ns)
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


def _slow_down(noise: Noise, generator: np.random.Generator) -> Array:
    """Return the factor of every millisecond."""
    seconds = np.arange(round(_HORIZON_S * 1e9 / _STEP_NS)) * (_STEP_NS / 1e9)
    phase = generator.uniform(0.0, 2.0 * np.pi)
    factor = 1.0 + noise.drift * seconds / 10.0
    factor += noise.wave * np.sin(np.pi / 2.0 * seconds + phase)
    if noise.bursts_per_s:
        gap = 1.0 / noise.bursts_per_s
        _paint(factor, generator, gap, noise.burst_s, (0.1, noise.burst_slow_down))
    if noise.steps:
        _paint(factor, generator, 0.0, 1.0, (-noise.steps, noise.steps))
    return factor


def _paint(
    factor: Array,
    generator: np.random.Generator,
    gap_s: float,
    length_s: float,
    between: tuple[float, float],
) -> None:
    """Multiply stretches of exponential length and distance by one plus a uniform draw each."""
    moment = 0.0
    while moment < _HORIZON_S:
        begin = moment + (generator.exponential(gap_s) if gap_s else 0.0)
        moment = begin + generator.exponential(length_s)
        span = slice(round(begin * 1e9 / _STEP_NS), round(moment * 1e9 / _STEP_NS))
        factor[span] *= 1.0 + generator.uniform(*between)
