"""What is told of a subject that was opened in a process of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from bmopt.core.addresses import are_fixed
from bmopt.core.dataset import InputSpec
from bmopt.core.host import NOT_INSTALLED, versions
from bmopt.core.measurement import Fact
from bmopt.core.target import Target
from bmopt.errors import TargetError
from bmopt.workflow.engines import read_options
from bmopt.workflow.subjects import Subject

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "ort": ("onnxruntime", "onnxruntime-gpu"),
    "trt": ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"),
    "rtx": ("tensorrt_rtx",),
    "tvm": ("apache-tvm", "apache-tvm-ffi"),
    "openvino": ("openvino",),
}
"""An engine's name in targets -> the packages that it may come in."""


@dataclasses.dataclass(frozen=True)
class Opened:
    """A subject, without what lives in its process only.

    Attributes:
        text: What the user wrote.
        name: The last part of its path, with the engine in front where one was named.
        kind: What was opened: ``"artifact"``, ``"onnx"``, ``"engine"``.
        path: The folder or file.
        digest: SHA-256 (hex).
        size_bytes: Of what runs.
        target: What it was compiled for, or the engine.
        inputs: What has to be fed.
        graph: Its ``.onnx`` file, None where there is none.
        engine: The engine's name and version.
        versions: Package -> version, of the engine.
        settings: How the engine runs, where there is a choice.
        has_fixed_addresses: Whether its process has the addresses of all others.
    """

    text: str
    name: str
    kind: str
    path: Path
    digest: str
    size_bytes: int
    target: str
    inputs: tuple[InputSpec, ...]
    graph: Path | None
    engine: str
    versions: Mapping[str, str]
    settings: Mapping[str, Fact]
    has_fixed_addresses: bool


def opened(subject: Subject) -> Opened:
    """Return what is told of a subject."""
    engine = subject.target.partition("-")[0]
    found = versions()
    own = {
        name: found[name]
        for name in _PACKAGES.get(engine, ())
        if found.get(name, NOT_INSTALLED) != NOT_INSTALLED
    }
    first = next(iter(own), engine)
    return Opened(
        text=subject.text,
        name=subject.name,
        kind=subject.kind,
        path=subject.path,
        digest=subject.digest,
        size_bytes=subject.size_bytes,
        target=subject.target,
        inputs=subject.inputs,
        graph=subject.graph,
        engine=f"{first} {own.get(first, '')}".strip(),
        versions=own,
        settings=_settings(subject),
        has_fixed_addresses=are_fixed(),
    )


def _settings(subject: Subject) -> dict[str, Fact]:
    """Return what decides how a GPU engine's figures compare: graphs, and copies."""
    if subject.kind != "artifact":
        return {}
    try:
        target = Target.parse(subject.target)
    except TargetError:
        return {}
    if not target.on_gpu:
        return {}
    options = read_options(subject.path)
    graph = options is not None and options.cuda_graph
    return {"cuda_graph": graph, "copies_between_host_and_device": "timed"}
