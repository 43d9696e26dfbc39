"""What subjects cost besides latency, gathered for tables."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bmopt.bench.quantities import amount, digits, time_text
from bmopt.core.bench_document import Energy, ProcessCost, Throughput


@dataclasses.dataclass(frozen=True)
class Cost:
    """A quantity that is measured once in every process.

    Attributes:
        name: What a gate calls it.
        title: What a table calls it.
        unit: ``"ns"`` or ``"bytes"``.
        read: Reads it off a process.
    """

    name: str
    title: str
    unit: Literal["ns", "bytes"]
    read: Callable[[ProcessCost], int | None]

    def text(self, value: float) -> str:
        """Return a value with its unit."""
        return time_text(value) if self.unit == "ns" else amount(value, "B")


COSTS = (
    Cost("load", "load", "ns", lambda cost: cost.load_ns),
    Cost("first_inference", "first inference", "ns", lambda cost: cost.first_inference_ns),
    Cost("cold_start", "cold start", "ns", lambda cost: cost.cold_start_ns),
    Cost("memory", "peak memory", "bytes", lambda cost: cost.peak_memory_bytes),
)


@dataclasses.dataclass(frozen=True)
class Spread:
    """A quantity over several processes.

    Attributes:
        median: The median.
        low: The least.
        high: The most.
        count: How many processes told it.
    """

    median: float
    low: float
    high: float
    count: int


def spread(processes: Sequence[ProcessCost], subject: str, cost: Cost) -> Spread | None:
    """Return a quantity over a subject's processes; None where none told it."""
    values = [cost.read(one) for one in processes if one.subject == subject]
    found = [value for value in values if value is not None]
    if not found:
        return None
    return Spread(statistics.median(found), min(found), max(found), len(found))


@dataclasses.dataclass(frozen=True)
class Grid:
    """Throughput as a table.

    Attributes:
        batches: Batch sizes, ascending: the columns.
        rows: Subject and threads -> batch size -> samples per second.
    """

    batches: tuple[int, ...]
    rows: Mapping[tuple[str, int], Mapping[int, float]]

    @classmethod
    def of(cls, found: Sequence[Throughput]) -> Grid:
        """Arrange what was measured; subjects keep their order, the last of two alike counts."""
        rows: dict[tuple[str, int], dict[int, float]] = {}
        order = list(dict.fromkeys(one.subject for one in found))
        for one in sorted(found, key=lambda one: (order.index(one.subject), one.threads)):
            rows.setdefault((one.subject, one.threads), {})[one.batch] = one.per_second
        return cls(tuple(sorted({one.batch for one in found})), rows)


def joules_text(joules: float) -> str:
    """Return the energy of an inference, for example ``"31.2 mJ"``."""
    return f"{digits(1e3 * joules)} mJ" if joules < 1 else f"{digits(joules)} J"


def why_no_energy(found: Energy) -> str:
    """Return why there is no energy, without the words that say that there is none."""
    return (found.note or found.source).removeprefix("not available: ")
