"""Where the time of an inference goes, in terms of the original model's nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

from bmopt.graph.work import Work

_PRODUCTS = (
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "LSTM",
    "GRU",
    "RNN",
    "Attention",
    "Einsum",
)
_CONVERSIONS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", "ReorderInput", "ReorderOutput"}
)


@dataclasses.dataclass(frozen=True)
class KernelTime:
    """A kernel of the engine; see ``bmopt.core.profile.LayerTime``."""

    name: str
    op: str
    dtype: str
    ns: float
    schedule: str = ""


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """Nodes of the original model that the engine runs together.

    Attributes:
        nodes: Their names, in the original model's order.
        ops: Their op types; empty strings where the original model is not at hand.
        kernels: What runs them, in order; layout and type conversions are among it.
        work: What they have to do at least, for a batch as it was profiled.
    """

    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    kernels: tuple[KernelTime, ...]
    work: Work

    @property
    def name(self) -> str:
        """The node that does most of the work: the first product, else the first node."""
        pairs = zip(self.nodes, self.ops, strict=True)
        return next((name for name, op in pairs if op in _PRODUCTS), self.nodes[0])

    @property
    def op(self) -> str:
        """Their op types, for example ``"Conv+BatchNormalization+Relu"``."""
        return "+".join(op for op in self.ops if op)

    @property
    def ns(self) -> float:
        """Time of one inference that goes here."""
        return sum(kernel.ns for kernel in self.kernels)

    @property
    def dtype(self) -> str:
        """Element type that the longest kernel computes on which does not merely convert."""
        return self._longest.dtype

    @property
    def schedule(self) -> str:
        """How that kernel's loops are arranged; empty where the engine does not tell."""
        return self._longest.schedule

    @property
    def _longest(self) -> KernelTime:
        working = [kernel for kernel in self.kernels if kernel.op not in _CONVERSIONS]
        return max(working or self.kernels, key=lambda kernel: kernel.ns)


@dataclasses.dataclass(frozen=True)
class LayerTable:
    """Where the time of an inference goes.

    Attributes:
        engine: The engine's name.
        threads: Its threads; 0 let it choose.
        rows: Groups of original nodes in the order they run; no node is in two of them.
        unmatched: Kernels that stand for no node that is known.
        wall_ns: Median latency of an inference without the profiler.
        profiled_wall_ns: With the profiler.
        event_ns: Taken off every kernel's time as the profiler's own.
        inferences: How many inferences the times are medians of.
    """

    engine: str
    threads: int
    rows: tuple[LayerRow, ...]
    unmatched: tuple[KernelTime, ...]
    wall_ns: float
    profiled_wall_ns: float
    event_ns: float
    inferences: int

    @property
    def layers_ns(self) -> float:
        """All kernels together."""
        return sum(row.ns for row in self.rows) + self.unmatched_ns

    @property
    def unmatched_ns(self) -> float:
        """Time of kernels that stand for no node that is known."""
        return sum(kernel.ns for kernel in self.unmatched)

    @property
    def outside_ns(self) -> float:
        """Latency that no kernel accounts for: calls and scheduling; below 0 if they overlap."""
        return self.wall_ns - self.layers_ns

    @property
    def unattributed_ns(self) -> float:
        """Latency that is in no row."""
        return self.unmatched_ns + self.outside_ns

    def share(self, ns: float) -> float:
        """Return ``ns`` as a fraction of the latency."""
        return ns / self.wall_ns if self.wall_ns > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the table as a JSON value."""
        return {
            "engine": self.engine,
            "threads": self.threads,
            "inferences": self.inferences,
            "wall_ns": self.wall_ns,
            "profiled_wall_ns": self.profiled_wall_ns,
            "event_ns": self.event_ns,
            "layers_ns": self.layers_ns,
            "unmatched_ns": self.unmatched_ns,
            "outside_ns": self.outside_ns,
            "unattributed_share": self.share(self.unattributed_ns),
            "rows": [self._row_dict(row) for row in self.rows],
            "unmatched": [dataclasses.asdict(kernel) for kernel in self.unmatched],
        }

    def _row_dict(self, row: LayerRow) -> dict[str, Any]:
        return {
            "name": row.name,
            "nodes": list(row.nodes),
            "op": row.op,
            "dtype": row.dtype,
            "ns": row.ns,
            "share": self.share(row.ns),
            **dataclasses.asdict(row.work),
            "kernels": [dataclasses.asdict(kernel) for kernel in row.kernels],
        }
