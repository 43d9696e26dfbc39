"""The recipe: every option of a run, as a TOML file that repeats it."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from bmopt.core.board import Board
from bmopt.core.engine import COMPATS, BuildOptions, Compat, Profile
from bmopt.core.ranges import METHODS
from bmopt.core.target import HALVES
from bmopt.core.tuning_budget import TuningBudget
from bmopt.errors import UsageError
from bmopt.workflow.pruning.wish import PruneWish

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

THOROUGH = "best"
PRESETS = ("fast", "balanced", THOROUGH)
"""How much is done to keep an 8-bit model's accuracy."""

BY_LAYER = "output"
"""The method that chooses every tensor's range by the error at its layer's output."""

_CHOICES = {
    "method": ("auto", *METHODS, BY_LAYER),
    "preset": PRESETS,
    "float_type": ("fp32", *HALVES),
    "compat": COMPATS,
    "sparse": ("auto", "on", "off"),
}

MEASURED, RULES = "measured", "rules"
"""Placements that are chosen for the model; others are rules that the user writes."""

ENGINE_OPTIONS = (
    "level",
    "workspace_mib",
    "compat",
    "timing_cache",
    "weight_streaming",
    "refit",
    "strip",
    "sparse",
    "dla",
    "cuda_graph",
    "tune",
    "tuning_database",
    "board",
    "build_timeout_s",
)
"""Options of an engine and its build."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Options of ``bmopt compile``.

    Attributes:
        target: ``engine-precision[:device]``.
        calib: Calibration samples, in any form that ``bmopt.data`` opens; empty for none.
        val: Validation samples; empty to compare on the calibration samples.
        metric: What decides, as ``bmopt bench --metric`` takes it; ``auto`` is top1 where there
            are labels, else agreement; ``none`` leaves accuracy out.
        max_drop: What an 8-bit model may lose of the metric, in points of a rate; negative for
            no budget.
        min_metric: The least value that it may have instead, as text; empty for none.
        min_speedup: How many times as fast as float it has to be; 0 demands nothing.
        preset: How much is done for accuracy: ``fast``, ``balanced`` or ``best``.
        steps: The steps themselves, ``bias,rounding,...``, in the place of a preset's; ``none``
            for plain rounding.
        plan: File with the plan of an earlier run, edited or not, to follow.
        pipeline: Passes in text form.
        prune: What goes before anything else: ``latency=R``, ``macs=R`` or ``parameters=R`` for
            the part that is to be left, ``drop=POINTS``, or a plan's file; empty for nothing.
        shapes: ``input:1x3x224x224`` each: dynamic axes to fix in the model; an engine also
            takes ``input:MIN:OPT:MAX``.
        preprocess: ``key=value`` each, for calibration and validation samples.
        float_type: Element type of what is not in 8 bits: ``fp32``, ``fp16`` or ``bf16``.
        cast_io: Inputs and outputs become half precision too where the rest does.
        keep_float: Node names, globs or ``op:Type`` to leave in float.
        method: How ranges are chosen; ``auto`` takes the one with the best output SQNR.
        placement: Which nodes stay in float; ``measured`` takes what is fastest here, ``rules``
            the scheme's rules, ``all`` leaves none, ``key=value,...`` sets rules one by one.
        latency_table: File with the times of the model's parts on the device; the placement is
            then what it says is fastest, and nothing is timed here.
        calib_limit: Calibration samples to use at most; 0 for all.
        val_limit: Validation samples to use at most; 0 for all.
        batch_size: Samples per inference where the model's batch axis is dynamic.
        threads: Threads of every measured session.
        duration_s: Time limit of the latency comparison in seconds; 0 leaves it out.
        seed: Of random samples and of the schedule.
        level: Optimisation level of an engine's builder, 0 to 5; -1 leaves it to the engine.
        workspace_mib: Limit of an engine's scratch memory; 0 for none.
        compat: What else an engine is to run on: ``none``, ``version`` or ``hardware``.
        timing_cache: File of kernel timings that builds read and extend.
        weight_streaming: Weights of an engine may stay in host memory.
        refit: Weights of an engine can be exchanged later.
        strip: An engine is stored without its weights.
        sparse: Kernels for 2:4 sparsity: ``auto`` where the weights have it, ``on`` or ``off``.
        dla: Core of the deep learning accelerator; -1 for the GPU.
        cuda_graph: Runs of an engine are captured as a CUDA graph and replayed.
        tune: What tuning the schedules of TVM's kernels may cost: a number of trials or a time,
            as ``90s``, ``20min``; empty for nothing.
        tuning_database: Folder of tuned schedules; empty for the one in the cache where something
            is tuned.
        board: Board that TVM's kernels are tuned on and the artifact is measured on, as
            ``HOST:PORT``, ``HOST:PORT/KEY`` or ``tracker HOST:PORT/KEY``; empty for this host.
        build_timeout_s: Time limit of an engine's build in seconds.
        require_engine: Fail where the engine cannot be built, rather than write the graph alone.
    """

    target: str = "ort-int8"
    calib: str = ""
    val: str = ""
    metric: str = "auto"
    max_drop: float = -1.0
    min_metric: str = ""
    min_speedup: float = 0.0
    preset: str = "balanced"
    steps: str = ""
    plan: str = ""
    pipeline: str = "simplify"
    prune: str = ""
    shapes: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    float_type: str = "fp32"
    cast_io: bool = False
    keep_float: tuple[str, ...] = ()
    method: str = "auto"
    placement: str = MEASURED
    latency_table: str = ""
    calib_limit: int = 0
    val_limit: int = 0
    batch_size: int = 16
    threads: int = 1
    duration_s: float = 5.0
    seed: int = 0
    level: int = -1
    workspace_mib: int = 0
    compat: str = "none"
    timing_cache: str = ""
    weight_streaming: bool = False
    refit: bool = False
    strip: bool = False
    sparse: str = "auto"
    dla: int = -1
    cuda_graph: bool = False
    tune: str = ""
    tuning_database: str = ""
    board: str = ""
    build_timeout_s: float = 3600.0
    require_engine: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        for field in dataclasses.fields(self):
            if not _fits(getattr(self, field.name), field.default):
                raise UsageError(
                    f"option {field.name!r} has the wrong type; the default is {field.default!r}"
                )
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise UsageError(
                    f"unknown {name.replace('_', ' ')} {getattr(self, name)!r}; "
                    f"valid are {', '.join(valid)}"
                )
        self._check_numbers()
        self._check_texts()
        self._check_demands()

    def _check_numbers(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1")
        for name in ("calib_limit", "val_limit", "seed", "workspace_mib"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} must not be negative")
        if not 0 <= self.duration_s < math.inf:
            raise UsageError(f"duration {self.duration_s}: give seconds, 0 to measure nothing")
        if not 0 < self.build_timeout_s < math.inf:
            raise UsageError(f"build-timeout {self.build_timeout_s}: give seconds, more than 0")
        if not -1 <= self.level <= 5:
            raise UsageError(f"builder level {self.level}: give 0 to 5, or -1 for the default")

    def _check_texts(self) -> None:
        for text, parse in (
            (self.board, Board.from_text),
            (self.tune, TuningBudget.parse),
            (self.prune, PruneWish.parse),
        ):
            if text:
                parse(text)

    def _check_demands(self) -> None:
        if not -math.inf < self.max_drop < math.inf:
            raise UsageError(f"max-drop {self.max_drop}: give points of the metric, e.g. 0.3")
        if not 0 <= self.min_speedup < math.inf:
            raise UsageError(f"min-speedup {self.min_speedup}: give a factor, e.g. 1.0")
        if self.min_metric and not _is_number(self.min_metric):
            raise UsageError(f"min-metric {self.min_metric!r}: give a number in the metric's unit")

    @property
    def has_budget(self) -> bool:
        """Whether there is something that the artifact may lose and no more."""
        return self.max_drop >= 0 or bool(self.min_metric)

    def engine_option(self) -> str:
        """Return an option for engines that is set, empty where none is."""
        default = Recipe()
        names = (
            name
            for name in (*ENGINE_OPTIONS, "require_engine")
            if getattr(self, name) != getattr(default, name)
        )
        return next(names, "")

    def build_options(
        self, profiles: Mapping[str, Profile], *, has_sparse_weights: bool
    ) -> BuildOptions:
        """Return the options of an engine build."""
        return BuildOptions(
            profiles=profiles,
            level=None if self.level < 0 else self.level,
            workspace_bytes=self.workspace_mib << 20,
            compat=cast("Compat", self.compat),
            timing_cache=self.timing_cache,
            weight_streaming=self.weight_streaming,
            refit=self.refit,
            strip=self.strip,
            sparse=self.sparse == "on" or (self.sparse == "auto" and has_sparse_weights),
            dla=None if self.dla < 0 else self.dla,
            cuda_graph=self.cuda_graph,
            tune=self.tune,
            tuning_database=self.tuning_database,
            board=self.board,
            timeout_s=self.build_timeout_s,
        )

    def to_toml(self) -> str:
        """Return the recipe as TOML; ``from_toml`` gives an equal recipe back."""
        lines = [f"{key} = {_toml(value)}" for key, value in dataclasses.asdict(self).items()]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises:
            UsageError: The file is missing, is no TOML, or has an unknown or mistyped option.
        """
        return dataclasses.replace(cls(), **read_options(path))


def read_options(path: Path) -> dict[str, Any]:
    """Return the options that a recipe file sets.

    Raises:
        UsageError: The file is missing, is no TOML, or has an unknown or mistyped option.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is not TOML ({error})") from error
    return {key: _typed(key, value, path) for key, value in table.items()}


def _typed(key: str, value: Any, path: Path) -> Any:  # noqa: ANN401 - any TOML value
    defaults = dataclasses.asdict(Recipe())
    if key not in defaults:
        raise UsageError(f"{path}: unknown option {key!r}; valid are {', '.join(defaults)}")
    default = defaults[key]
    value = tuple(value) if isinstance(value, list) else value
    if not _fits(value, default):
        raise UsageError(f"{path}: option {key!r} has the wrong type; the default is {default!r}")
    return float(value) if isinstance(default, float) else value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _fits(value: object, default: object) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    return type(value) is type(default) or (isinstance(default, float) and type(value) is int)


def _toml(value: object) -> str:
    """Return a TOML value: JSON's strings, numbers and lists of strings are TOML's as well.

    But for one character, which TOML wants escaped.
    """
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
