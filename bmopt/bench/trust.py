"""What makes a latency measurement untrustworthy, and what to do about it: a line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from bmopt.bench.noise import NoiseFloor
from bmopt.bench.schedule import ROUNDS_PER_TURN
from bmopt.bench.statistics import FEWEST_TURNS_TO_STOP
from bmopt.core.measurement import Environment, Measurement

_MOST_STEAL_PERCENT = 1.0
_MOST_CLOCK_CHANGE = 0.05
# Of the readings of a clock: single ones jump where the CPU was just about to sleep.
_CLOCK_RANGE = (0.05, 0.95)
_MOST_THROTTLED = 0.05
_NEAR_LIMIT_CELSIUS = 3.0
_GPU_ADVICE = {
    "thermal": "let it cool down, or give it more air",
    "sw_power_cap": (
        "fix a clock that it can hold, nvidia-smi --lock-gpu-clocks, or raise the limit, "
        "nvidia-smi --power-limit"
    ),
    "hw_": "nvidia-smi -q -d PERFORMANCE says whether heat or the power supply is the cause",
    "sync_boost": "stop what runs on the GPUs that share its clock",
}
"""What to do, by a part of the reason's name."""


def warnings_of(
    measurement: Measurement,
    environment: Environment | None = None,
    floor: NoiseFloor | None = None,
    *,
    ran_here: bool = True,
) -> tuple[str, ...]:
    """Return one line for everything that casts doubt on a measurement, with advice.

    Args:
        measurement: What was measured.
        environment: Where; the measurement's own if not given.
        floor: The noise floor that was measured beside it, where one was.
        ran_here: Whether something of it ran on this host, whose load then matters.
    """
    facts = measurement.environment if environment is None else environment
    host: tuple[Callable[[Measurement, Environment], Iterator[str]], ...] = (
        _steal,
        _clocks,
        _throttled,
        _hot,
        _governor,
        _load,
        _threads,
    )
    checks = (*host, _turns) if ran_here else (_turns,)
    found = [line for check in checks for line in check(measurement, facts)]
    if floor is not None:
        found.extend(_floor(floor, measurement.settings.precision))
    return tuple(found)


def _steal(measurement: Measurement, environment: Environment) -> Iterator[str]:
    total = sum(_readings(measurement, "cpu.total_ticks"))
    stolen = sum(_readings(measurement, "cpu.steal_ticks"))
    percent = 100.0 * stolen / total if total else _number(environment, "load.steal_percent")
    if percent is not None and percent > _MOST_STEAL_PERCENT:
        yield (
            f"other guests of this machine took {percent:.1f} % of the CPU time: measure at "
            "another hour, or on a machine of your own"
        )


def _clocks(measurement: Measurement, _: Environment) -> Iterator[str]:
    for name in sorted(name for name in _used(measurement) if name.endswith("_mhz")):
        low, high = np.quantile(_readings(measurement, name), _CLOCK_RANGE)
        if low > 0.0 and high / low - 1.0 > _MOST_CLOCK_CHANGE:
            yield (
                f"{name} moved between {low:.0f} and {high:.0f} from block to block: fix the "
                "clock, or let the device cool down and give --duration more time"
            )


def _throttled(measurement: Measurement, _: Environment) -> Iterator[str]:
    names = _used(measurement)
    for name in sorted(name for name in names if name.endswith(".throttled")):
        readings = _readings(measurement, name)
        count = sum(reading > 0.0 for reading in readings)
        if count > _MOST_THROTTLED * len(readings):
            reasons = sorted(one[len(name) + 1 :] for one in names if one.startswith(f"{name}."))
            yield (
                f"GPU {name.split('.')[1]} lowered its clocks in {count} of {len(readings)} "
                f"blocks ({', '.join(reasons) or 'reason unknown'}): {_gpu_advice(reasons)}"
            )


def _gpu_advice(reasons: list[str]) -> str:
    parts = (part for part in _GPU_ADVICE if any(part in reason for reason in reasons))
    return _GPU_ADVICE[next(parts, "hw_")]


def _hot(measurement: Measurement, environment: Environment) -> Iterator[str]:
    for name in sorted(name for name in _used(measurement) if name.endswith(".celsius")):
        limit = _number(environment, name.replace(".celsius", ".limit_celsius"))
        hottest = max(_readings(measurement, name))
        if limit is not None and hottest >= limit - _NEAR_LIMIT_CELSIUS:
            yield (
                f"GPU {name.split('.')[1]} reached {hottest:.0f} °C and lowers its clocks at "
                f"{limit:.0f} °C: {_GPU_ADVICE['thermal']}"
            )


def _governor(_: Measurement, environment: Environment) -> Iterator[str]:
    if environment.facts.get("cpu.governor") == "powersave":
        yield (
            "the frequency governor is powersave: as root, "
            "cpupower frequency-set --governor performance"
        )


def _load(_: Measurement, environment: Environment) -> Iterator[str]:
    cores = _cores(environment)
    before = _number(environment, "load.average_before")
    after = _number(environment, "load.average_after")
    own = _number(environment, "threads.intra_op") or 1.0
    load = max(before or 0.0, (after or 0.0) - own)
    if cores is not None and load > cores:
        yield (
            f"other work kept {load:.1f} tasks busy on {cores:g} CPUs: stop it, or give "
            "--duration more time"
        )


def _threads(_: Measurement, environment: Environment) -> Iterator[str]:
    cores = _cores(environment)
    threads = _number(environment, "threads.intra_op")
    if cores is not None and threads is not None and threads > cores:
        yield f"{threads:g} threads on {cores:g} CPUs: give --threads {max(1, int(cores))}"


def _turns(measurement: Measurement, _: Environment) -> Iterator[str]:
    turns = len(measurement.blocks) // (ROUNDS_PER_TURN * len(measurement.variants))
    if turns < FEWEST_TURNS_TO_STOP:
        yield (
            f"there was time for {turns} turns of the {FEWEST_TURNS_TO_STOP} that a verdict "
            "should rest on: give --duration more time"
        )


def _floor(floor: NoiseFloor, precision: float) -> Iterator[str]:
    if floor.is_different:
        estimate = floor.estimate
        yield (
            f"a model against itself was called {estimate.verdict} "
            f"({_signed(estimate.low)} to {_signed(estimate.high)}): take no difference of that "
            "size for real, and measure again"
        )
    if 2.0 * floor.half_width > precision:
        yield (
            f"the noise floor, ±{100.0 * floor.half_width:.1f} %, is wider than the precision of "
            f"{100.0 * precision:g} %: quieten the host, or give --duration more time"
        )


def _used(measurement: Measurement) -> set[str]:
    """Return the names of all readings but those of GPUs on which nothing ever ran."""
    names = {name for block in measurement.blocks for name in block.readings}
    flags = (name for name in names if name.endswith(".idle"))
    idle = [flag for flag in flags if min(_readings(measurement, flag)) > 0.0]
    unused = tuple(flag.removesuffix("idle") for flag in idle)
    return {name for name in names if not name.startswith(unused)}


def _readings(measurement: Measurement, name: str) -> list[float]:
    return [block.readings[name] for block in measurement.blocks if name in block.readings]


def _cores(environment: Environment) -> float | None:
    """Return how many CPUs this process may use at once, None where the host does not say."""
    names = ("cpu.logical_cores", "cpu.affinity", "cpu.quota")
    known = [number for name in names if (number := _number(environment, name)) is not None]
    return min(known, default=None)


def _number(environment: Environment, name: str) -> float | None:
    value = environment.facts.get(name)
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and value is not None else None


def _signed(ratio: float) -> str:
    return f"{100.0 * (ratio - 1.0):+.1f} %"
