"""What every tool makes of a model, made once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peers.catalogue import Peer
from peers.environments import REQUIREMENTS, Environment
from peers.making import SCRIPTS, Made, Task, peer_model, prepare
from shared_models import SharedModel

from accuracy.store import Store
from bmopt.core.digest import of_file


@dataclasses.dataclass(frozen=True)
class _Samples:
    """What a task knows of its stored samples."""

    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    count: int


def stored_task(model: SharedModel, folder: Path, limit: int, store: Store) -> Task:
    """Return the model's task, its samples stored once.

    Raises:
        BmoptError: The model or the samples cannot be opened.
    """

    def make() -> _Samples:
        made = prepare(model, folder, limit)
        return _Samples(made.inputs, made.shapes, made.dtypes, made.count)

    def task(samples: _Samples) -> Task:
        return Task(model, folder, **vars(samples), limit=limit)

    return task(
        store.kept("samples", task_key(model, limit), _Samples, make,
                   lambda samples: task(samples).samples.is_file())
    )  # fmt: skip


def task_key(model: SharedModel, limit: int) -> list[Any]:
    """Return what calibration depends on, as a JSON value."""
    return [of_file(model.path), model.calib, limit]


def peers_made(
    peers: Sequence[Peer], task: Task, store: Store, ready: Callable[[str], Environment]
) -> dict[str, Made]:
    """Return what every peer made; a tool that cannot be had here is asked for again next time."""
    return {peer.name: _made(peer, task, store, ready) for peer in peers}


def _made(peer: Peer, task: Task, store: Store, ready: Callable[[str], Environment]) -> Made:
    if not peer.script:
        return peer_model(peer, task, ready)
    key = [task_key(task.model, task.limit), dataclasses.asdict(peer)]
    key += [of_file(SCRIPTS / peer.script), of_file(SCRIPTS / "job.py")]
    key += [of_file(REQUIREMENTS / f"{peer.environment}.txt")]
    return store.kept(
        f"peer-{peer.name}", key, Made, lambda: peer_model(peer, task, ready), _is_settled
    )


def _is_settled(made: Made) -> bool:
    if made.subject:
        return file_of(made).is_file()
    return not made.note.startswith("skipped")


def file_of(made: Made) -> Path:
    """Return the file of what was made."""
    return Path(made.subject.partition(":")[2])


def identity(made: Made) -> list[str]:
    """Return the digests of what was made, or why there is nothing."""
    if not made.subject:
        return [made.note]
    file = file_of(made)
    return [of_file(path) for path in (file, file.with_suffix(".bin")) if path.is_file()]
