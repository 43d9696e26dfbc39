"""Energy of an inference, by the counters of the CPU's packages and of the GPUs' boards.

They count everything in the package or on the board, idle power included, whoever caused it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.core.bench_document import Energy
from bmopt.core.cpuinfo import ROOT
from bmopt.core.nvml import Nvml, NvmlGpu, own_nvml
from bmopt.core.rapl import RaplCounter, open_rapl
from bmopt.core.runner import Feeds
from bmopt.errors import DataError

_WARM_UP_SHARE = 0.1
_POLL_NS = 1_000_000
# RAPL's counters move every millisecond, NVML's at least ten times a second.
_LONGEST_WAIT_NS = 500_000_000


class EnergyMeter(Protocol):
    """Something that counts energy."""

    @property
    def source(self) -> str:
        """What counts, for example ``"RAPL package-0"``."""

    @property
    def note(self) -> str:
        """What is counted, for example ``"of the whole package, idle share included"``."""

    def joules(self) -> float:
        """Return the energy since an arbitrary moment, in J; it never falls.

        Raises:
            OSError: The counter does not answer any more.
        """


class RaplMeter:
    """A CPU package."""

    note = "of the whole package, idle share included"

    def __init__(self, counter: RaplCounter) -> None:
        self._counter = counter
        self.source = f"RAPL {counter.name}"

    def joules(self) -> float:
        """Return the energy since the counter was opened, in J."""
        return 1e-6 * self._counter.energy_uj()


class NvmlMeter:
    """The board of a GPU."""

    note = "of the whole board, idle share included"

    def __init__(self, gpu: NvmlGpu) -> None:
        self._gpu = gpu
        self.source = f"NVML GPU {gpu.index} {gpu.name}"

    def joules(self) -> float:
        """Return the energy since the driver was loaded, in J."""
        millijoules = self._gpu.energy_mj()
        if millijoules is None:
            raise OSError("its energy is not told any more")
        return 1e-3 * millijoules


@dataclasses.dataclass(frozen=True)
class Meters:
    """The usable meters of a host, and a line for each that is missing, with the reason."""

    usable: tuple[EnergyMeter, ...] = ()
    missing: tuple[str, ...] = ()


def meters(root: Path = ROOT, nvml: Nvml | None = None) -> Meters:
    """Return the meters of this host, or of the tree under ``root``.

    Args:
        root: Where ``sys`` lies.
        nvml: The GPUs; this host's if not given.
    """
    rapl = open_rapl(root)
    gpus = own_nvml() if nvml is None else nvml
    counting = tuple(gpu for gpu in gpus.gpus if gpu.energy_mj() is not None)
    missing = [f"RAPL: {rapl.reason}"] if rapl.reason else []
    missing += [f"NVML: {gpus.reason}"] if gpus.reason else []
    missing += [
        f"NVML: GPU {gpu.index} {gpu.name} counts no energy; GPUs from Volta on do"
        for gpu in gpus.gpus
        if gpu not in counting
    ]
    return Meters((*map(RaplMeter, rapl.packages), *map(NvmlMeter, counting)), tuple(missing))


def measure_energy(
    subject: str,
    run: Callable[[Feeds], object],
    feeds: Sequence[Feeds],
    meters: Meters,
    *,
    seconds: float = 2.0,
    clock: Clock = MONOTONIC,
) -> tuple[Energy, ...]:
    """Run inferences back to back and return the energy of one, by every usable meter.

    A counter moves in steps, some only ten times a second, so each is read when it has just
    moved: inferences go on without a pause before, between and after these two moments.

    Args:
        subject: What runs.
        run: Runs an inference.
        feeds: Real inputs, used in rotation.
        meters: What counts.
        seconds: Least time between the two readings of a meter.
        clock: Nanoseconds.

    Returns:
        An entry per usable meter; where there is none, one that says why, and nothing is run.

    Raises:
        DataError: No feeds, or feeds that do not fit the model.
    """
    if not feeds:
        raise DataError("no inputs to measure energy with; give at least one sample")
    if not meters.usable:
        return (_not_available(subject, "; ".join(meters.missing) or "no meter"),)
    work = _Work(run, feeds, clock)
    work.go_on(round(_WARM_UP_SHARE * seconds * 1e9))
    starts = _edges(meters.usable, work)
    work.go_on(round(seconds * 1e9))
    ends = _edges(meters.usable, work)
    return tuple(map(_energy, [subject] * len(starts), meters.usable, starts, ends))


class _Work:
    """Inferences back to back, counted."""

    def __init__(
        self, run: Callable[[Feeds], object], feeds: Sequence[Feeds], clock: Clock
    ) -> None:
        self._run, self._feeds, self.clock = run, tuple(feeds), clock
        self.count = 0

    def go_on(self, least_ns: int) -> None:
        """Run inferences for that long, one at least."""
        end = self.clock() + least_ns
        while True:
            self._run(self._feeds[self.count % len(self._feeds)])
            self.count += 1
            if self.clock() >= end:
                return


@dataclasses.dataclass(frozen=True)
class _Edge:
    """What a meter said after so many inferences, or why it says nothing."""

    said: float | str
    inferences: int


def _edges(meters: Sequence[EnergyMeter], work: _Work) -> list[_Edge]:
    """Run on until every counter has moved, or has had long enough to; return where it did."""
    before = [_said(meter) for meter in meters]
    found: dict[int, _Edge] = {}
    deadline = work.clock() + _LONGEST_WAIT_NS
    while len(found) < len(meters):
        # Between two inferences that are short, reading would be most of the work.
        work.go_on(_POLL_NS)
        late = work.clock() >= deadline
        for index in set(range(len(meters))) - set(found):
            said = _said(meters[index])
            if late or said != before[index]:
                found[index] = _Edge(said, work.count)
    return [found[index] for index in range(len(meters))]


def _said(meter: EnergyMeter) -> float | str:
    try:
        return meter.joules()
    except OSError as error:
        return error.strerror or str(error)


def _energy(subject: str, meter: EnergyMeter, start: _Edge, end: _Edge) -> Energy:
    if isinstance(start.said, str) or isinstance(end.said, str):
        reason = next(said for said in (end.said, start.said) if isinstance(said, str))
        return _not_available(subject, f"{meter.source}: {reason}", meter.source)
    spent = end.said - start.said
    if spent <= 0.0:
        return _not_available(subject, f"{meter.source} does not count", meter.source)
    return Energy(subject, spent / (end.inferences - start.inferences), meter.source, meter.note)


def _not_available(subject: str, reason: str, source: str = "") -> Energy:
    return Energy(subject, source=source, note=f"not available: {reason}")
