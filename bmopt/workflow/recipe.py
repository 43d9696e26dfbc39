"""The recipe: every option of a run, as a TOML file that repeats it."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

from bmopt.core.ranges import METHODS
from bmopt.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

METRICS = ("auto", "top1", "top5", "agreement", "none")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Options of ``bmopt compile``.

    Attributes:
        target: ``engine-precision[:device]``.
        calib: Calibration samples, in any form that ``bmopt.data`` opens; empty for none.
        val: Validation samples; empty to compare on the calibration samples.
        metric: ``auto`` is top1 where there are labels, else agreement.
        pipeline: Passes in text form.
        shapes: ``input:1x3x224x224`` each: dynamic axes to fix in the model.
        preprocess: ``key=value`` each, for calibration and validation samples.
        keep_float: Node names, globs or ``op:Type`` to leave in float.
        method: How ranges are chosen; ``auto`` takes the one with the best output SQNR.
        placement: Which products stay in float; ``auto`` measures, ``rules`` takes the scheme's
            rules, ``all`` leaves none, ``key=value,...`` sets rules one by one.
        calib_limit: Calibration samples to use at most; 0 for all.
        val_limit: Validation samples to use at most; 0 for all.
        batch_size: Samples per inference where the model's batch axis is dynamic.
        threads: Threads of every measured session.
        duration_s: Time limit of the latency comparison in seconds; 0 leaves it out.
        seed: Of random samples and of the schedule.
    """

    target: str = "ort-int8"
    calib: str = ""
    val: str = ""
    metric: str = "auto"
    pipeline: str = "simplify"
    shapes: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    keep_float: tuple[str, ...] = ()
    method: str = "auto"
    placement: str = "auto"
    calib_limit: int = 0
    val_limit: int = 0
    batch_size: int = 16
    threads: int = 1
    duration_s: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked without a model."""
        for field in dataclasses.fields(self):
            if not _fits(getattr(self, field.name), field.default):
                raise UsageError(
                    f"option {field.name!r} has the wrong type; the default is {field.default!r}"
                )
        if self.method not in ("auto", *METHODS):
            raise UsageError(
                f"unknown method {self.method!r}; valid are auto, {', '.join(METHODS)}"
            )
        if self.metric not in METRICS:
            raise UsageError(f"unknown metric {self.metric!r}; valid are {', '.join(METRICS)}")
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name.replace('_', '-')} must be at least 1")
        for name in ("calib_limit", "val_limit", "seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name.replace('_', '-')} must not be negative")
        if not 0 <= self.duration_s < math.inf:
            raise UsageError(f"duration {self.duration_s}: give seconds, 0 to measure nothing")

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
