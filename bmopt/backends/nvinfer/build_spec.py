"""What a build is asked for and what it tells, as files between two processes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmopt.backends.nvinfer.sdk import name_of
from bmopt.core.engine import BuildOptions, Profile
from bmopt.core.target import Target
from bmopt.errors import BuildError

_RTX_REFUSALS: Mapping[str, str] = {
    "timing_cache": "times no kernels, so it has no timing cache; leave it out",
    "refit": "needs a GPU to make an engine that can be refitted; leave it out",
    "strip": "needs a GPU to make an engine without weights; leave it out",
    "dla": "runs on GPUs only; leave the DLA out",
}
"""Options that an ahead-of-time build of TensorRT-RTX 1.7 fails on or ignores."""

_DEFAULTS = BuildOptions()


@dataclasses.dataclass(frozen=True)
class BuildSpec:
    """One build.

    Attributes:
        engine: ``"trt"`` or ``"rtx"``.
        graph: The ``.onnx`` file.
        out: Where the engine goes.
        folder: Where log, inspection and outcome go.
        devices: What it is built for, for example ``("sm86", "sm89")``; empty for this GPU.
        options: The options.
    """

    engine: str
    graph: Path
    out: Path
    folder: Path
    devices: tuple[str, ...]
    options: BuildOptions

    @property
    def name(self) -> str:
        """What to call the engine in messages."""
        return name_of(self.engine)

    @property
    def log(self) -> Path:
        """Where the SDK's log goes."""
        return self.folder / "log.jsonl"

    @property
    def inspection(self) -> Path:
        """Where the engine inspector's JSON goes."""
        return self.folder / "layers.json"

    @property
    def outcome(self) -> Path:
        """Where the outcome goes."""
        return self.folder / "outcome.json"

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> BuildSpec:
        """Return the build that ``to_json`` wrote."""
        document: dict[str, Any] = json.loads(text)
        options = document["options"]
        options["profiles"] = {
            name: Profile(**{key: tuple(shape) for key, shape in profile.items()})
            for name, profile in options["profiles"].items()
        }
        document["options"] = BuildOptions(**options)
        document["devices"] = tuple(document["devices"])
        paths = {key: Path(document[key]) for key in ("graph", "out", "folder")}
        return cls(**{**document, **paths})


@dataclasses.dataclass(frozen=True)
class BuildOutcome:
    """What the builder's process tells.

    Attributes:
        version: The SDK's version.
        seconds: How long parsing and building took.
        error: Kind of the error, ``"BuildError"`` or ``"HostError"``; empty on success.
        message: Its message, in one line.
        warnings: What to tell the user beside what the SDK's log warns of.
    """

    version: str = ""
    seconds: float = 0.0
    error: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the text that ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BuildOutcome:
        """Return the outcome that ``to_json`` wrote."""
        document: dict[str, Any] = json.loads(text)
        return cls(**{**document, "warnings": tuple(document["warnings"])})


def check_options(target: Target, options: BuildOptions) -> None:
    """Check options before anything is built.

    Raises:
        BuildError: An option is out of range, or the engine cannot do it.
    """
    if options.level is not None and not 0 <= options.level <= 5:
        raise BuildError(f"optimisation level {options.level}: levels go from 0 to 5")
    if options.workspace_bytes < 0:
        raise BuildError(f"workspace of {options.workspace_bytes} bytes: give a positive size")
    if options.dla is not None and options.dla < 0:
        raise BuildError(f"DLA core {options.dla}: cores are numbered from 0")
    if options.tune or options.tuning_database:
        raise BuildError(f"{target}: only TVM's kernels are tuned; leave out --tune")
    if target.engine == "rtx":
        _check_rtx(target, options)


def _check_rtx(target: Target, options: BuildOptions) -> None:
    for field, reason in _RTX_REFUSALS.items():
        if getattr(options, field) != getattr(_DEFAULTS, field):
            raise BuildError(f"{target}: TensorRT-RTX {reason}")
    if options.compat == "version":
        raise BuildError(
            f"{target}: engines of TensorRT-RTX fit their own version only; "
            "build again after an update instead of --compat version"
        )
    if options.compat == "hardware":
        raise BuildError(
            f"{target}: TensorRT-RTX builds for the GPUs that the target names; "
            f"use --target {target.head}:sm80+sm86+sm89 instead of --compat hardware"
        )
