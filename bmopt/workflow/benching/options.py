"""How models are measured beside each other."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from bmopt.bench.conditions import Condition, parse_conditions
from bmopt.bench.metric import Metric
from bmopt.bench.metric_text import parse_metric
from bmopt.core.board import Board
from bmopt.core.scenario import MULTI_STREAM, OFFLINE, SERVER, ScenarioSettings
from bmopt.errors import UsageError
from bmopt.workflow.samples import SampleOptions

SECTIONS = ("latency", "accuracy", "costs", "throughput", "energy", "layers", "sqnr")
"""What is measured unless told otherwise, in this order; scenarios are asked for by name."""


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """How models are measured beside each other.

    Attributes:
        data: The samples; random ones if empty.
        samples: How they are opened.
        shapes: Sizes of inputs with dynamic axes, ``input:1x3x224x224`` each.
        threads: Threads of every session; 0 lets the engines choose.
        batch_size: Samples per inference where accuracy is measured.
        duration_s: Time limit of the comparison of latencies, and length of a scenario.
        precision: Width of a latency ratio's interval to stop at, as a fraction.
        block_ms: Least time that one subject runs before another takes over.
        seed: Of the order, of arrivals and of resampling.
        metrics: ``top1``, ``f1:macro``, ``module:function``...; empty chooses by the samples.
        fail_if: Conditions of the gate, as ``"top1 -0.5pp, p50 +3%"``; empty for none.
        scenarios: Load scenarios to run.
        target_latency_ms: What the server's percentile may be at most.
        target_qps: The server's queries per second; 0 searches the highest that hold.
        samples_per_query: Of multi-stream and offline; 0 takes the scenario's own.
        concurrency: Workers of server and offline.
        batch_sizes: Batches whose throughput is measured.
        thread_counts: Numbers of threads it is measured with; empty is one and all cores.
        only: Sections to measure; empty for all.
        skip: Sections to leave out.
        processes: In how many fresh processes start-up is measured.
        any_host: Open artifacts for other hosts too, see ``load_artifact``.
        latency_table: Measure how long the parts of the first two subjects' model take in float
            and in integers.
        board: Where TVM artifacts run; None for this host.
        timeout_s: A step that takes this much longer than asked, in seconds, counts as hung.

    Raises:
        UsageError: A value makes no sense.
    """

    data: str = ""
    samples: SampleOptions = dataclasses.field(default_factory=SampleOptions)
    shapes: tuple[str, ...] = ()
    threads: int = 1
    batch_size: int = 16
    duration_s: float = 10.0
    precision: float = 0.01
    block_ms: float = 5.0
    seed: int = 0
    metrics: tuple[str, ...] = ()
    fail_if: str = ""
    scenarios: tuple[str, ...] = ()
    target_latency_ms: float = 100.0
    target_qps: float = 0.0
    samples_per_query: int = 0
    concurrency: int = 1
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    thread_counts: tuple[int, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    processes: int = 5
    any_host: bool = False
    latency_table: bool = False
    board: Board | None = None
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Check everything that can be checked before a model is opened."""
        for name in ("duration_s", "precision", "block_ms", "timeout_s"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name}={getattr(self, name)}: give a number above 0")
        if self.processes < 1:
            raise UsageError(f"processes={self.processes}: give 1 or more")
        if self.board is not None and self.latency_table:
            raise UsageError("a latency table is measured on this host; leave out the board")
        for name in (*self.only, *self.skip):
            if name not in SECTIONS:
                raise UsageError(f"no section {name!r}; sections are {', '.join(SECTIONS)}")
        self.parsed_metrics()
        self.conditions()
        self.scenario_settings()

    @property
    def sections(self) -> tuple[str, ...]:
        """What is to be measured."""
        asked = self.only or SECTIONS
        return tuple(name for name in SECTIONS if name in asked and name not in self.skip)

    def parsed_metrics(self) -> tuple[Metric, ...] | None:
        """Return the metrics; None where the samples are to choose."""
        return tuple(map(parse_metric, self.metrics)) or None

    def conditions(self) -> tuple[Condition, ...]:
        """Return the conditions of the gate."""
        return parse_conditions(self.fail_if) if self.fail_if else ()

    def scenario_settings(self) -> tuple[ScenarioSettings, ...]:
        """Return the settings of every scenario."""
        return tuple(map(self._settings, self.scenarios))

    def _settings(self, scenario: str) -> ScenarioSettings:
        own: dict[str, Any] = {}
        if scenario in (MULTI_STREAM, OFFLINE):
            own["samples_per_query"] = self.samples_per_query
        if scenario in (SERVER, OFFLINE):
            own["concurrency"] = self.concurrency
        return ScenarioSettings(
            scenario,
            duration_s=self.duration_s,
            target_latency_ms=self.target_latency_ms,
            target_qps=self.target_qps,
            seed=self.seed,
            timeout_s=self.timeout_s,
            **own,
        )
