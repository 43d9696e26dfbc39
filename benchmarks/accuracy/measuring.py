"""One model after the other through everything that is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.catalogue import Peer
from peers.comparing import Comparison
from peers.environments import Unavailable
from peers.making import Made
from peers.results import ModelResult as LatencyResult
from shared_models import SharedModel

from accuracy.compiling import ARTIFACT, Compiled, compiled
from accuracy.costs import cost_of, inference_seconds, peers_costs
from accuracy.goals import OURS, Scheme, head
from accuracy.ladder import climb
from accuracy.latency import latency
from accuracy.made import identity, peers_made, stored_task, task_key
from accuracy.results import Cost, Ladder, ModelResult, Results, SchemeResult
from accuracy.scoring import scored
from accuracy.store import Store, source_digest
from bmopt.errors import BmoptError

_ENGINES = ("onnxruntime", "openvino", "torch")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and where it goes.

    Attributes:
        peers: The tools.
        schemes: The schemes.
        preset: bmopt's, where nothing else is said.
        calib_limit: Calibration samples at most; 0 for all.
        val_limit: Validation samples at most; 0 for all.
        seconds: Of timing per row of the latencies; 0 leaves them out.
        has_ladder: Whether the ladder is climbed too.
        work: The folder of all that is made, and of what is finished.
        environments: The folder of the peers' environments.
    """

    peers: tuple[Peer, ...]
    schemes: tuple[Scheme, ...]
    preset: str
    calib_limit: int
    val_limit: int
    seconds: float
    has_ladder: bool
    work: Path
    environments: Path


@dataclasses.dataclass(frozen=True)
class _Seconds:
    """A time, as a value that can be stored."""

    seconds: float


class Study:
    """Models through all tools.

    Args:
        settings: What is measured.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._comparison = Comparison(
            peers=settings.peers,
            environments=settings.environments,
            work=settings.work,
            calib_limit=settings.calib_limit,
            val_limit=settings.val_limit,
            seconds=settings.seconds,
        )

    def measure(self, model: SharedModel) -> ModelResult:
        """Return all that was found of a model; what was finished before is not done again."""
        try:
            return _OneModel(model, self._settings, self._comparison).result()
        except BmoptError as error:
            return ModelResult(model.name, note=f"failed: {error}")

    def results(self, command: str, models: Sequence[ModelResult]) -> Results:
        """Return all that was found, with the versions that it was found with."""
        for name in dict.fromkeys(p.environment for p in self._settings.peers if p.environment):
            # Asks for its versions, which a peer whose models were kept has not been asked for.
            with contextlib.suppress(Unavailable):
                self._comparison.ready(name)
        known = self._comparison.results(command, [])
        ours = {
            name: importlib.metadata.version(name)
            for name in _ENGINES
            if importlib.util.find_spec(name)
        }
        return Results(
            command=command,
            preset=self._settings.preset,
            cpu=known.cpu,
            versions={**ours, **known.versions},
            models=tuple(models),
        )


class _OneModel:
    """A model with its folder; every step is kept in it."""

    def __init__(self, model: SharedModel, settings: Settings, comparison: Comparison) -> None:
        self._model = model
        self._settings = settings
        self._folder = settings.work.resolve() / model.name
        self._store = Store(self._folder / "steps")
        self._say("samples")
        limit = settings.calib_limit
        self._task = stored_task(model, self._folder / "peers", limit, self._store)
        self._say("peers")
        self._made = peers_made(settings.peers, self._task, self._store, comparison.ready)

    def result(self) -> ModelResult:
        """Measure what the settings ask for."""
        settings, count = self._settings, self._task.count
        return ModelResult(
            name=self._model.name,
            calibrated=count,
            schemes=tuple(map(self._scored, settings.schemes)),
            latency=self._latency() if settings.seconds > 0 else None,
            ladders=tuple(map(self._ladder, settings.schemes)) if settings.has_ladder else (),
            costs=(*map(self._cost, settings.schemes), *peers_costs(settings.peers, self._made)),
            inference_seconds=self._inference().seconds,
        )

    @property
    def _calib(self) -> tuple[str, ...]:
        return ("--calib-limit", str(self._settings.calib_limit))

    @property
    def _val(self) -> tuple[str, ...]:
        return ("--val", self._model.val, "--val-limit", str(self._settings.val_limit))

    @property
    def _preset(self) -> tuple[str, ...]:
        return ("--preset", self._settings.preset)

    @property
    def _key(self) -> list[Any]:
        return [source_digest(), *task_key(self._model, self._settings.calib_limit)]

    def _say(self, step: str) -> None:
        print(f"{self._model.name}: {step}", file=sys.stderr, flush=True)

    def _compiled(self, name: str, target: str, flags: tuple[str, ...]) -> tuple[Compiled, Made]:
        """Return what a command reported, and its graph; one that failed is not kept."""
        folder = self._folder / f"{name}-{target}"
        graph = folder / ARTIFACT / "model.onnx"
        found = self._store.kept(
            f"{name}-{target}",
            [*self._key, target, *flags],
            Compiled,
            lambda: compiled(self._model, target, flags, folder),
            lambda one: not one.note and graph.is_file(),
        )
        if found.note:
            return found, Made(note=f"failed: {found.note}")
        return found, Made(f"ort:{graph}")

    def _scored(self, scheme: Scheme) -> SchemeResult:
        self._say(f"{scheme.target}: bmopt")
        flags = (*self._calib, *self._val, *self._preset)
        report, ours = self._compiled("accuracy", scheme.target, flags)
        self._say(f"{scheme.target}: accuracy of all")
        quantisers = [peer for peer in self._settings.peers if peer.script]
        made = {OURS: ours, **{peer.name: self._made[peer.name] for peer in quantisers}}
        titles = {OURS: OURS, **{peer.name: head(peer) for peer in quantisers}}
        files = {name: identity(one) for name, one in made.items()}
        found = self._store.kept(
            f"scores-{scheme.target}",
            [*self._key, *self._val, dataclasses.asdict(scheme), files],
            SchemeResult,
            lambda: scored(
                self._model, scheme, made, titles, self._settings.val_limit, self._task
            ),
        )
        return dataclasses.replace(found, warnings=_differences(report, found))

    def _latency(self) -> LatencyResult:
        self._say("latency")
        settings = self._settings
        files = {name: identity(one) for name, one in self._made.items()}
        return self._store.kept(
            "latency",
            [*self._key, *self._val, settings.seconds, files],
            LatencyResult,
            lambda: latency(
                self._task, self._made, settings.peers, settings.val_limit, settings.seconds
            ),
            lambda found: not found.note,
        )

    def _ladder(self, scheme: Scheme) -> Ladder:
        self._say(f"{scheme.target}: ladder")
        folder = self._folder / f"ladder-{scheme.target}"
        flags = (*self._calib, *self._val)
        return climb(self._model, scheme.target, flags, folder, self._store, self._key)

    def _cost(self, scheme: Scheme) -> Cost:
        self._say(f"{scheme.target}: cost")
        flags = (*self._calib, *self._preset)
        return cost_of(scheme.target, self._compiled("cost", scheme.target, flags)[0])

    def _inference(self) -> _Seconds:
        limit = self._settings.calib_limit
        return self._store.kept(
            "inference",
            self._key,  # Measured again when what it is compared with is.
            _Seconds,
            lambda: _Seconds(inference_seconds(self._model, limit)),
        )


def _differences(report: Compiled, found: SchemeResult) -> tuple[str, ...]:
    """Return a line where what bmopt says of its graph is not what was found here."""
    ours = found.row(OURS)
    said, seen = report.agreement, ours.agreement if ours else None
    if said is None or seen is None or said == seen:
        return ()
    return (f"bmopt compile reports an agreement of {said:.4f}, here it is {seen:.4f}",)
