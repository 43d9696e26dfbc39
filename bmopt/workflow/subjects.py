"""What is measured or compared: an artifact folder, an ``.onnx`` file, or ``engine:file``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal

from bmopt.backends.openvino import probe as openvino
from bmopt.backends.openvino.files import weights_file
from bmopt.backends.openvino.profile import profile_file
from bmopt.backends.openvino.session import open_file
from bmopt.backends.registry import backend_for, reference
from bmopt.backends.tvm.profile import profile_library
from bmopt.core.dataset import InputSpec
from bmopt.core.digest import of_file, of_json
from bmopt.core.profile import LayerProfile
from bmopt.core.runner import Feeds, Runner
from bmopt.core.target import Target
from bmopt.errors import ModelError, UsageError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import input_specs, load_model
from bmopt.workflow.artifact import checked_artifact, load_artifact
from bmopt.workflow.engines import MODEL, read_engine
from bmopt.workflow.files import size_on_disk
from bmopt.workflow.stand_in import is_foreign

Kind = Literal["artifact", "onnx", "engine"]
Profiler = Callable[[Sequence[Feeds], int, float], LayerProfile]

_PREFIX = re.compile(r"(?P<engine>[a-z][a-z0-9]*):(?P<file>.+)")


@dataclasses.dataclass(frozen=True)
class Subject:
    """An opened model and what it is; a context manager that closes it.

    Attributes:
        text: What the user wrote.
        name: The last part of its path, with the engine in front where one was named.
        kind: What was opened.
        path: The folder or file.
        digest: SHA-256 (hex): an artifact's own, a model's graph and weights, or the bytes
            of other files.
        size_bytes: Of the engine file or the graph that runs, its external data included.
        target: What it was compiled for, as ``engine-precision:device``; the engine's name where
            it was not compiled.
        inputs: What has to be fed.
        runner: The opened model.
        graph: Its ``.onnx`` file, None where there is none.
        profile: Tells where the time goes, given (feeds, threads, seconds); None where the engine
            does not.
    """

    text: str
    name: str
    kind: Kind
    path: Path
    digest: str
    size_bytes: int
    target: str
    inputs: tuple[InputSpec, ...]
    runner: Runner
    graph: Path | None = None
    profile: Profiler | None = None

    def __enter__(self) -> Subject:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.runner.__exit__(kind, error, trace)


@dataclasses.dataclass(frozen=True)
class EngineFiles:
    """Files that an engine runs without an artifact around them.

    Attributes:
        suffixes: How their names end.
        open: Opens a file (text, path, threads).
        opener: Imports the engine; returns what then opens a file (path, threads) and does nothing
            else.
    """

    suffixes: tuple[str, ...]
    open: Callable[[str, Path, int], Subject]
    opener: Callable[[Path, int], Callable[[], Runner]]


def open_subject(text: str, *, threads: int = 0, any_host: bool = False) -> Subject:
    """Open an artifact folder, an ``.onnx`` file (on ONNX Runtime), or ``engine:file``.

    Args:
        text: What the user wrote. A path that exists is never taken for ``engine:file``.
        threads: Intra-op threads; 0 lets the engine choose.
        any_host: Open artifacts for other hosts too, as ``load_artifact`` does.

    Raises:
        UsageError: It is none of those.
        ArtifactError: The folder is no artifact, is damaged, or its engine has still to be built.
        HostError: The artifact or engine is not for this host.
        ModelError: The file is missing, or the engine refuses it.
    """
    path, engine = _located(text)
    if engine is not None:
        return engine.open(text, path, threads)
    if path.is_dir():
        return _open_artifact(text, path, threads, any_host=any_host)
    return _open_onnx(text, path, threads)


def runner_opener(text: str, *, threads: int = 0, any_host: bool = False) -> Callable[[], Runner]:
    """Check what ``open_subject`` opens and import its engine; return what then opens it.

    What is returned does no more than a deployment would: it computes no digest.
    """
    path, engine = _located(text)
    if engine is not None:
        return engine.opener(path, threads)
    if path.is_dir():
        reference().ready()
        opened = checked_artifact(path, threads=threads, any_host=any_host)
        return lambda: opened().runner
    return _ort_opener(path, threads)


def _located(text: str) -> tuple[Path, EngineFiles | None]:
    """Return the path that a user means, and the engine that they named."""
    path = Path(text)
    named = None if path.exists() else _PREFIX.fullmatch(text)
    if named is not None:
        return _engine_file(text, named["engine"], Path(named["file"]))
    if path.is_dir() or path.suffix.lower() == ".onnx":
        return path, None
    if not path.exists():
        raise UsageError(f"{text}: no such file or folder; give {_forms()}")
    raise UsageError(f"{text}: is no model; give {_forms()}")


def _forms() -> str:
    return f"an artifact folder, an .onnx file, or engine:file ({', '.join(ENGINES)})"


def _engine_file(text: str, engine: str, path: Path) -> tuple[Path, EngineFiles]:
    files = ENGINES.get(engine)
    if files is None:
        raise UsageError(f"{text}: no engine {engine!r}; engines are {', '.join(ENGINES)}")
    if path.suffix.lower() not in files.suffixes:
        raise UsageError(f"{text}: {engine} runs {' or '.join(files.suffixes)} files")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    return path, files


def _open_artifact(text: str, path: Path, threads: int, *, any_host: bool) -> Subject:
    artifact = load_artifact(path, threads=threads, any_host=any_host)
    target = str(artifact.manifest["target"])
    builder = backend_for(Target.parse(target)).builder
    engine = None if builder is None else path / builder.engine_file
    graph = path / MODEL
    return Subject(
        text=text,
        name=path.resolve().name,
        kind="artifact",
        path=path,
        digest=str(artifact.manifest["digest"]),
        size_bytes=_size(engine if engine is not None and engine.is_file() else graph),
        target=target,
        inputs=input_specs(load_model(graph)),
        runner=artifact.runner,
        graph=graph,
        profile=None if artifact.is_stand_in else _profiler(Target.parse(target), graph, engine),
    )


def _profiler(target: Target, graph: Path, engine: Path | None) -> Profiler | None:
    """Return what profiles an artifact; None where its engine does not tell."""
    if target.engine == "tvm" and engine is not None:
        return _tvm_profiler(engine)
    return None if is_foreign(target) else _ort_profiler(graph)


def _tvm_profiler(library: Path) -> Profiler:
    built = read_engine(library.parent)
    kernels = () if built is None else built.kernels
    return lambda feeds, threads, seconds: profile_library(
        library, kernels, feeds, threads=threads, seconds=seconds
    )


def _ort_profiler(graph: Path) -> Profiler:
    return lambda feeds, threads, seconds: reference().profile_graph(
        graph, feeds, threads=threads, seconds=seconds
    )


def _open_onnx(text: str, path: Path, threads: int) -> Subject:
    model = load_model(path)
    return Subject(
        text=text,
        name=path.name,
        kind="onnx",
        path=path,
        digest=model_digest(model),
        size_bytes=_size(path),
        target="ort",
        inputs=input_specs(model),
        runner=reference().open_graph(path, threads=threads),
        graph=path,
        profile=_ort_profiler(path),
    )


def _open_ort_file(text: str, path: Path, threads: int) -> Subject:
    opened = _open_onnx(text, path, threads)
    return dataclasses.replace(opened, name=f"ort:{path.name}", kind="engine")


def _ort_opener(path: Path, threads: int) -> Callable[[], Runner]:
    engine = reference()
    engine.ready()
    return lambda: engine.open_graph(path, threads=threads)


def _open_openvino_file(text: str, path: Path, threads: int) -> Subject:
    graph = path if path.suffix.lower() == ".onnx" else None
    model = None if graph is None else load_model(graph)
    runner = open_file(path, threads=threads)
    files = [path, *filter(Path.is_file, [] if graph else [weights_file(path)])]
    return Subject(
        text=text,
        name=f"openvino:{path.name}",
        kind="engine",
        path=path,
        digest=model_digest(model)
        if model is not None
        else of_json([of_file(file) for file in files]),
        size_bytes=sum(map(_size, files)),
        target="openvino",
        inputs=input_specs(model) if model is not None else runner.inputs,
        runner=runner,
        graph=graph,
        profile=lambda feeds, threads, seconds: profile_file(
            path, feeds, threads=threads, seconds=seconds
        ),
    )


def _openvino_opener(path: Path, threads: int) -> Callable[[], Runner]:
    openvino.load()
    return lambda: open_file(path, threads=threads)


def _size(path: Path) -> int:
    return size_on_disk(path) if path.suffix.lower() == ".onnx" else path.stat().st_size


ENGINES: Mapping[str, EngineFiles] = MappingProxyType(
    {
        "ort": EngineFiles((".onnx",), _open_ort_file, _ort_opener),
        "openvino": EngineFiles((".xml", ".onnx"), _open_openvino_file, _openvino_opener),
    }
)
"""Engine name -> the files that it runs."""
