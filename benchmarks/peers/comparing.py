"""One model after the other through all tools, and their versions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from shared_models import SharedModel

import bmopt
from bmopt.core.host import host_facts
from bmopt.errors import BmoptError
from peers.catalogue import Peer
from peers.crosscheck import checks
from peers.environments import Environment, Unavailable, environment
from peers.making import Made, Task, artifact, peer_model, prepare
from peers.reading import BenchError, Reader, bench
from peers.results import ModelResult, Results, Row

_OURS = Row("bmopt", "bmopt, ort-int8")
_QUANTISED = "nncf_openvino"


class Comparison:
    """Models through tools; environments are made when the first model needs them.

    Attributes:
        peers: The tools.
        environments: The folder of their environments.
        work: The folder of what they make.
        calib_limit: Calibration samples at most; 0 for all.
        val_limit: Validation samples at most; 0 for all.
        seconds: Of timing per row.
    """

    def __init__(
        self,
        *,
        peers: Sequence[Peer],
        environments: Path,
        work: Path,
        calib_limit: int,
        val_limit: int,
        seconds: float,
    ) -> None:
        self.peers = peers
        self.environments = environments
        self.work = work
        self.calib_limit = calib_limit
        self.val_limit = val_limit
        self.seconds = seconds
        self._engines: dict[str, str] = {}
        self._made: dict[str, Environment | Unavailable] = {}

    def ready(self, name: str) -> Environment:
        """Return an environment; one that could not be made is not tried again."""
        if name not in self._made:
            try:
                self._made[name] = environment(name, self.environments)
            except Unavailable as reason:
                self._made[name] = reason
        found = self._made[name]
        if isinstance(found, Unavailable):
            raise found
        return found

    def measure(self, model: SharedModel) -> ModelResult:
        """Have every tool quantise a model, and measure what they made."""
        try:
            task = prepare(model, self.work.resolve() / model.name, self.calib_limit)
        except BmoptError as error:
            return ModelResult(model.name, note=f"failed: {error}")
        made = self._quantised(task)
        try:
            reader = self._benched(task, made)
        except BenchError as error:
            return ModelResult(
                model.name, calibrated=task.count, note=f"failed: bmopt bench: {error}"
            )
        return self._result(task, made, reader)

    def results(self, command: str, models: Sequence[ModelResult]) -> Results:
        """Return all that was found, with the versions that it was found with."""
        host = host_facts()
        versions = {"bmopt": bmopt.__version__}
        for made in self._made.values():
            if isinstance(made, Environment):
                versions |= made.versions
        cpu = f"{host.logical_cores} cores of {host.model} ({', '.join(host.flags)})"
        return Results(command, cpu, versions, self._engines, tuple(models))

    def _quantised(self, task: Task) -> dict[str, Made]:
        say(task, "bmopt")
        made = {"bmopt": artifact(task)}
        for peer in self.peers:
            say(task, peer.name)
            made[peer.name] = peer_model(peer, task, self.ready)
        return made

    def _benched(self, task: Task, made: dict[str, Made]) -> Reader:
        say(task, "bmopt bench")
        subjects = [one.subject for one in made.values() if one.subject]
        document = bench(task, subjects, self.val_limit, self.seconds)
        reader = Reader(task, document, made["bmopt"].subject)
        self._engines |= reader.engines
        return reader

    def _result(self, task: Task, made: dict[str, Made], reader: Reader) -> ModelResult:
        say(task, "cross-check")
        peers = [Row(p.name, p.title, is_for_tensorrt=p.is_for_tensorrt) for p in self.peers]
        quantised = made.get(_QUANTISED, Made())
        return ModelResult(
            name=task.model.name,
            metric=reader.metric_name,
            fraction=reader.metric is not None and reader.metric.fraction,
            calibrated=task.count,
            samples=reader.samples,
            fp32=reader.reference(),
            rows=tuple(reader.filled(row, made[row.name]) for row in (_OURS, *peers)),
            checks=tuple(checks(task, quantised, self.ready, reader.median_ns, self.seconds)),
            warnings=reader.warnings,
        )


def say(task: Task, step: str) -> None:
    print(f"{task.model.name}: {step}", file=sys.stderr, flush=True)
