"""What a build is asked for and what it tells, as files between two processes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmopt.core.engine import BuildOptions, Kernel
from bmopt.core.target import Target
from bmopt.errors import BuildError

OBJECTS_SUFFIX = ".tar"
"""Suffix of the file with objects that is written where nothing can link them."""

_TAKEN = ("profiles", "timeout_s", "sparse", "tune", "tuning_database", "board")
"""Options that mean something to TVM; 2:4 kernels are merely allowed, and it has none."""


@dataclasses.dataclass(frozen=True)
class BuildSpec:
    """One build.

    Attributes:
        graph: The ``.onnx`` file.
        out: Where the library goes, or the objects where ``compiler`` is empty.
        outcome: Where the outcome goes.
        precision: Of the target.
        target: The dictionary that ``tvm.target.Target`` takes.
        architecture: Of the processors.
        flags: Instruction sets that they must have.
        compiler: C++ compiler that links; empty to write objects.
        tune: Budget of tuning; empty for none.
        database: Folder of tuned schedules; empty for none.
        board: Where kernels are measured, as ``Board`` writes itself; empty for this host.
        measured_on: What tells one place to measure from another.
    """

    graph: Path
    out: Path
    outcome: Path
    precision: str
    target: dict[str, Any]
    architecture: str
    flags: tuple[str, ...]
    compiler: str
    tune: str = ""
    database: str = ""
    board: str = ""
    measured_on: str = ""

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> BuildSpec:
        """Return the build that ``to_json`` wrote."""
        document: dict[str, Any] = json.loads(text)
        paths = {key: Path(document[key]) for key in ("graph", "out", "outcome")}
        return cls(**{**document, **paths, "flags": tuple(document["flags"])})


@dataclasses.dataclass(frozen=True)
class BuildOutcome:
    """What the builder's process tells.

    Attributes:
        version: TVM's version.
        seconds: How long it took to import, lower, compile and link.
        error: Class of the error in ``bmopt.errors``; empty on success.
        message: Its message, in one line.
        kernels: The functions of the library in the order in which they are called.
        warnings: What to tell the user.
        tuning: What tuning came to, in one line; empty where nothing was tuned.
    """

    version: str = ""
    seconds: float = 0.0
    error: str = ""
    message: str = ""
    kernels: tuple[Kernel, ...] = ()
    warnings: tuple[str, ...] = ()
    tuning: str = ""

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BuildOutcome:
        """Return the outcome that ``to_json`` wrote."""
        document: dict[str, Any] = json.loads(text)
        kernels = tuple(map(_kernel, document["kernels"]))
        return cls(**{**document, "kernels": kernels, "warnings": tuple(document["warnings"])})


def _kernel(entry: Mapping[str, Any]) -> Kernel:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Kernel(**fields)


def check_options(target: Target, options: BuildOptions) -> None:
    """Check options before anything is built.

    Raises:
        BuildError: One is set that TVM has nothing for.
    """
    default = BuildOptions()
    for field in dataclasses.fields(options):
        if field.name in _TAKEN or getattr(options, field.name) == getattr(default, field.name):
            continue
        name = {"workspace_bytes": "workspace"}.get(field.name, field.name).replace("_", "-")
        raise BuildError(f"{target}: TVM has no option like --{name}; leave it out")
