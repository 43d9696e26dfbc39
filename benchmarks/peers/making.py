"""What every tool makes of a model: bmopt its artifact, the others their quantised file."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from shared_models import SharedModel

from bmopt.data.open import open_dataset
from bmopt.graph.model_io import input_specs, load_model
from peers.catalogue import Peer
from peers.environments import Environment, Unavailable
from peers.processes import Ending, output_of, run_measured

SCRIPTS = Path(__file__).with_name("scripts")
LIMIT_S = 1800.0


@dataclasses.dataclass(frozen=True)
class Made:
    """What a tool made.

    Attributes:
        subject: As ``bmopt bench`` takes it; empty where there is nothing.
        note: Why there is nothing.
        detail: What else is to be told of it.
        seconds: What it took, the whole process; None where nothing had to be made.
        peak_bytes: The most memory that the process had.
    """

    subject: str = ""
    note: str = ""
    detail: str = ""
    seconds: float | None = None
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """A model with its calibration samples, ready for every tool.

    Attributes:
        model: The model.
        folder: Where everything that is made of it goes.
        inputs: Names of its inputs.
        shapes: Their shapes in the first sample.
        dtypes: Their element types in it.
        count: How many feeds were stored.
        limit: How many samples at most.
    """

    model: SharedModel
    folder: Path
    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    count: int
    limit: int

    @property
    def samples(self) -> Path:
        """The file of samples."""
        return self.folder / "samples.npz"

    def told(self, text: str) -> str:
        """Return a message without the folders of this host."""
        for folder in (self.folder, self.model.path.resolve().parent, self.model.path.parent):
            text = text.replace(f"{folder}/", "")
        return text


def prepare(model: SharedModel, folder: Path, limit: int) -> Task:
    """Store the calibration samples as ready feeds: every tool is given exactly the same.

    Raises:
        BmoptError: The model or the samples cannot be opened.
    """
    specs = input_specs(load_model(model.path))
    dataset = open_dataset(model.calib, specs, limit=limit or None)
    feeds = [batch.feeds for batch in dataset.batches(1)]
    names = tuple(spec.name for spec in specs)
    arrays: dict[str, Any] = {
        f"{number}-{j}": feed[name]
        for number, feed in enumerate(feeds)
        for j, name in enumerate(names)
    }
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    task = Task(
        model=model,
        folder=folder,
        inputs=names,
        shapes=tuple(feeds[0][name].shape for name in names),
        dtypes=tuple(str(feeds[0][name].dtype) for name in names),
        count=len(feeds),
        limit=limit,
    )
    np.savez(task.samples, **arrays)
    return task


def artifact(task: Task) -> Made:
    """Compile the model with bmopt, as it comes but for the threads, with an empty cache."""
    out = task.folder / "bmopt"
    argv = [sys.executable, "-m", "bmopt", "compile", str(task.model.path), "-o", str(out)]
    argv += ["--target", "ort-int8", "--threads", "1", "--json"]
    argv += ["--calib", task.model.calib, "--calib-limit", str(task.limit)]
    log = task.folder / "bmopt.log"
    cache = {"BMOPT_CACHE_DIR": str(task.folder / "cache")}
    ending = run_measured(argv, log, LIMIT_S, cache)
    if ending.error:
        return _failed(task, ending)
    report = json.loads(output_of(log).read_text(encoding="utf-8"))
    return Made(str(out), "", _placed(report), ending.seconds, ending.peak_bytes)


def _placed(report: dict[str, Any]) -> str:
    """Return how much of the model is in integers: without any, the row is of a float model."""
    placement = report["placement"]
    if placement is None:
        return ""
    integer, rest = placement["integer"], placement["float"]
    return f"{integer} of {integer + rest} nodes in INT8"


def _failed(task: Task, ending: Ending) -> Made:
    note = f"failed: {task.told(ending.error)}"
    return Made(note=note, seconds=ending.seconds, peak_bytes=ending.peak_bytes)


def peer_model(peer: Peer, task: Task, ready: Callable[[str], Environment]) -> Made:
    """Have a peer quantise the model; what fails is told, not raised.

    Args:
        peer: The peer.
        task: The model and the samples.
        ready: Returns an environment by its name.
    """
    if not peer.script:
        return Made(f"{peer.engine}:{task.model.path}")
    try:
        python = ready(peer.environment).program("python")
    except Unavailable as reason:
        return Made(note=f"skipped: {reason}")
    folder = task.folder / peer.name
    output = folder / f"{peer.name}{peer.suffix}"
    job = _job(task, peer, folder, output)
    ending = run_measured([python, SCRIPTS / peer.script, job], folder / "tool.log", LIMIT_S)
    if not ending.error and not output.is_file():
        ending = dataclasses.replace(ending, error="it wrote no model")
    if ending.error:
        return _failed(task, ending)
    return Made(f"{peer.engine}:{output}", "", "", ending.seconds, ending.peak_bytes)


def _job(task: Task, peer: Peer, folder: Path, output: Path) -> Path:
    # Tools write into their input, or beside it.
    copy = folder / "model.onnx"
    copy_model(task.model.path, copy)
    path = folder / "job.json"
    job = {
        "model": str(copy),
        "samples": str(task.samples),
        "inputs": task.inputs,
        "output": str(output),
        "option": peer.option,
    }
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def copy_model(source: Path, target: Path) -> None:
    """Copy a model with its external data, which becomes one file beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    bare = onnx.load(str(source), load_external_data=False)
    if not any(tensor.data_location for tensor in bare.graph.initializer):
        shutil.copyfile(source, target)
        return
    onnx.save(
        onnx.load(str(source)),
        str(target),
        save_as_external_data=True,
        location=f"{target.name}.data",
    )
