"""Engines of a job: built, opened, described."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.core.backend import Backend
from bmopt.core.engine import BuildOptions, EngineBuild, Kernel, Profile
from bmopt.core.files import write_text
from bmopt.core.runner import Runner
from bmopt.core.target import Target
from bmopt.errors import ArtifactError
from bmopt.graph.model_io import save_model

MODEL = "model.onnx"
ENGINE_FACTS = "engine.json"

Advance = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Opener:
    """Opens models as a target's engine runs them; what has to be built for that is built.

    Attributes:
        backend: The engine.
        target: The target.
        options: How its engines are built.
        threads: Threads of a session.
        finish: The last rewrite of a model before it is opened.
    """

    backend: Backend
    target: Target
    options: BuildOptions
    threads: int
    finish: Callable[[ir.Model], ir.Model] | None = None

    @contextlib.contextmanager
    def opened(self, model: ir.Model) -> Iterator[Runner]:
        """Yield ``model`` opened, built into a scratch folder where it has to be."""
        with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
            path = Path(folder) / MODEL
            save_model(model if self.finish is None else self.finish(model), path)
            with self.opened_file(path, Path(folder)) as runner:
                yield runner

    @contextlib.contextmanager
    def opened_file(self, graph: Path, scratch: Path) -> Iterator[Runner]:
        """Yield the ``.onnx`` file ``graph`` opened; an engine is built into ``scratch``."""
        path = graph
        if self.backend.builder is not None:
            path = scratch / self.backend.builder.engine_file
            # What is opened only to be compared takes schedules that are there.
            options = dataclasses.replace(self.options, tune="")
            self.backend.builder.build(graph, path, self.target, options)
        opened = self.backend.open(path, self.target, threads=self.threads, options=self.options)
        with opened as runner:
            yield runner


def build_into(
    folder: Path,
    backend: Backend,
    target: Target,
    options: BuildOptions,
    advance: Advance | None = None,
) -> EngineBuild:
    """Build the engine of the graph in ``folder`` beside it, and write down what it is.

    Raises:
        BuildError: The engine refuses the model or the options.
        HostError: It cannot be built on this host.
        IsolatedToolError: The build died or ran out of time.
    """
    assert backend.builder is not None
    out = folder / backend.builder.engine_file
    built = backend.builder.build(folder / MODEL, out, target, options, advance)
    write_text(folder / ENGINE_FACTS, engine_json(built, options))
    return built


def engine_json(built: EngineBuild, options: BuildOptions) -> str:
    """Return what ``read_engine`` reads."""
    document = {"build": dataclasses.asdict(built), "options": _kept(options)}
    return json.dumps(document, indent=1) + "\n"


def _kept(options: BuildOptions) -> dict[str, Any]:
    """Return options as an artifact keeps them: it is the same whatever board it was tuned on."""
    return {**dataclasses.asdict(options), "board": ""}


def read_engine(folder: Path) -> EngineBuild | None:
    """Return what was built in an artifact folder, None where nothing was.

    Raises:
        ArtifactError: The file is damaged.
    """
    document = _document(folder)
    if document is None or document.get("build") is None:
        return None
    with _damage(folder):
        build = document["build"]
        kernels = tuple(_kernel(entry) for entry in build["kernels"])
        lists = {"devices": tuple(build["devices"]), "warnings": tuple(build["warnings"])}
        return EngineBuild(**{**build, **lists, "kernels": kernels})


def read_options(folder: Path) -> BuildOptions | None:
    """Return the options that an artifact's engine is built with, None where they are unknown.

    Raises:
        ArtifactError: The file is damaged.
    """
    document = _document(folder)
    if document is None:
        return None
    with _damage(folder):
        options: dict[str, Any] = dict(document["options"])
        profiles = {
            name: Profile(**{key: tuple(shape) for key, shape in profile.items()})
            for name, profile in options["profiles"].items()
        }
        return BuildOptions(**{**options, "profiles": profiles})


def write_plan_to_build(folder: Path, options: BuildOptions) -> None:
    """Write down how the engine of the graph in ``folder`` is to be built on the device."""
    document = {"build": None, "options": _kept(options)}
    write_text(folder / ENGINE_FACTS, json.dumps(document, indent=1) + "\n")


def facts(built: EngineBuild) -> dict[str, Any]:
    """Return what a report says of an engine, without its kernels."""
    document = dataclasses.asdict(built)
    lists = {"devices": list(built.devices), "warnings": list(built.warnings)}
    return {**document, **lists, "kernels": len(built.kernels)}


def _document(folder: Path) -> Mapping[str, Any] | None:
    try:
        text = (folder / ENGINE_FACTS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    with _damage(folder):
        return dict(json.loads(text))


def _kernel(entry: Mapping[str, Any]) -> Kernel:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Kernel(**fields)


@contextlib.contextmanager
def _damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{folder / ENGINE_FACTS}: is damaged ({error!r}); compile again"
        ) from error
