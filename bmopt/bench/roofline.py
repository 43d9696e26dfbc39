"""How far each layer is from what the host allows, and why.

The roofline model: a layer takes at least as long as its arithmetic at the processor's peak, and
at least as long as its bytes at the memory's. The larger of the two is what is attainable; the
rest of its time could be gained. After S. Williams, A. Waterman and D. Patterson, "Roofline: an
insightful visual performance model for multicore architectures", Communications of the ACM 52(4),
2009. Bandwidth is that of a buffer as large as what an inference touches, since small models run
out of caches; a layer whose activations lie in a nearer cache can beat it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from bmopt.bench.layer_table import LayerRow, LayerTable
from bmopt.bench.peaks import Peaks

Bound = Literal["compute", "memory", "overhead", "unknown"]
BOUNDS: tuple[Bound, ...] = ("compute", "memory", "overhead", "unknown")

FAR = 4.0
"""A layer that takes this many times what is attainable is far from both ceilings."""

SHORT_NS = 20_000.0
"""A layer that is far from both and takes less than this is bound by what every layer costs."""


@dataclasses.dataclass(frozen=True)
class RooflineRow:
    """A layer under the roof; None is what depends on a shape or ceiling that is not known.

    Attributes:
        layer: The layer.
        intensity: Operations per byte.
        compute_ns: Its arithmetic at the peak.
        memory_ns: Its bytes at the peak.
        bound: What limits it.
    """

    layer: LayerRow
    intensity: float | None
    compute_ns: float | None
    memory_ns: float | None
    bound: Bound

    @property
    def attainable_ns(self) -> float | None:
        """The least time it can take."""
        if self.compute_ns is None or self.memory_ns is None:
            return None
        return max(self.compute_ns, self.memory_ns)

    @property
    def gain_ns(self) -> float | None:
        """What is left to gain at most; 0 where it beats the ceiling, out of a nearer cache."""
        least = self.attainable_ns
        return None if least is None else max(0.0, self.layer.ns - least)


@dataclasses.dataclass(frozen=True)
class BoundSummary:
    """All layers with one bound: how many, how long they take, what is left to gain."""

    layers: int
    ns: float
    gain_ns: float


@dataclasses.dataclass(frozen=True)
class Roofline:
    """A model's layers under the roof of this host."""

    table: LayerTable
    peaks: Peaks
    rows: tuple[RooflineRow, ...]

    @property
    def attainable_ns(self) -> float:
        """The layers' least times together; of one without, its measured time."""
        least = ((row.attainable_ns, row.layer.ns) for row in self.rows)
        return sum(took if lowest is None else min(lowest, took) for lowest, took in least)

    @property
    def gain_ns(self) -> float:
        """What is left to gain in all layers."""
        return sum(row.gain_ns or 0.0 for row in self.rows)

    def summary(self) -> dict[Bound, BoundSummary]:
        """Return bound -> its layers together."""
        return {bound: _summed([r for r in self.rows if r.bound == bound]) for bound in BOUNDS}

    def to_dict(self) -> dict[str, Any]:
        """Return table, peaks and summary as a JSON value."""
        table = self.table.to_dict()
        rows = [
            {
                **entry,
                "intensity": row.intensity,
                "compute_ns": row.compute_ns,
                "memory_ns": row.memory_ns,
                "attainable_ns": row.attainable_ns,
                "bound": row.bound,
                "gain_ns": row.gain_ns,
            }
            for entry, row in zip(table["rows"], self.rows, strict=True)
        ]
        return {
            **table,
            "rows": rows,
            "attainable_ns": self.attainable_ns,
            "gain_ns": self.gain_ns,
            "bounds": {name: dataclasses.asdict(part) for name, part in self.summary().items()},
            "peaks": dataclasses.asdict(self.peaks),
        }


def working_set_bytes(table: LayerTable) -> int:
    """Return how many bytes an inference reads, which is about what its caches have to hold."""
    return sum(row.work.read_bytes or 0 for row in table.rows)


def roofline(table: LayerTable, peaks: Peaks) -> Roofline:
    """Return the layers of a CPU engine under the ceilings that ``peaks`` measured."""
    return Roofline(table, peaks, tuple(_row(layer, peaks) for layer in table.rows))


def _row(layer: LayerRow, peaks: Peaks) -> RooflineRow:
    macs, moved = layer.work.macs, layer.work.bytes
    compute_ns = _compute_ns(layer, peaks)
    memory_ns = None if moved is None else 1e9 * moved / peaks.working_set.best
    intensity = 2 * macs / moved if macs is not None and moved else None
    return RooflineRow(
        layer, intensity, compute_ns, memory_ns, _bound(layer.ns, compute_ns, memory_ns)
    )


def _compute_ns(layer: LayerRow, peaks: Peaks) -> float | None:
    if not layer.work.macs:
        return None if layer.work.macs is None else 0.0
    peak = peaks.compute(layer.dtype)
    return None if peak is None else 1e9 * 2 * layer.work.macs / peak


def _bound(took_ns: float, compute_ns: float | None, memory_ns: float | None) -> Bound:
    if compute_ns is None or memory_ns is None:
        return "unknown"
    least = max(compute_ns, memory_ns)
    if least == 0.0 or (took_ns > FAR * least and took_ns < SHORT_NS):
        return "overhead"
    return "compute" if compute_ns >= memory_ns else "memory"


def _summed(rows: Sequence[RooflineRow]) -> BoundSummary:
    return BoundSummary(
        len(rows), sum(row.layer.ns for row in rows), sum(row.gain_ns or 0.0 for row in rows)
    )
