"""How stored arrays and images become what a model wants: the options and their text forms.

One set of keys serves a TOML file beside the data, ``key=value`` flags, and the query of a data
spec (``val.npz?x=images&scale=1/255``). ``bmopt.data.pixels`` applies them.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from bmopt.errors import DataError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Channels = Literal["RGB", "BGR", "GRAY"]
Layout = Literal["NCHW", "NHWC"]
Extent = int | tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Which arrays to take and what to do to them; ``None`` leaves a step out or infers it.

    Pixels go through ``resize``, ``crop``, ``channels``, then
    ``x = (float32(pixel) * scale - mean) / std`` in float32, then ``layout`` and ``dtype``.

    Attributes:
        x: Key of the array to feed: ``"key"``, or ``"input:key,input:key"`` for several inputs.
        y: Key of the array of labels; without it, ``labels`` is taken where there is one.
        labels: CSV file (columns ``file,label``) with the labels of a folder of images.
        resize: Short side in pixels, or (height, width); bilinear.
        crop: Side of a centred square, or (height, width).
        channels: Channel order of the model; stored images are RGB or grey.
        scale: Factor for the stored values (0..255).
        mean: One value, or one per channel, in units of the scaled values.
        std: One value, or one per channel, in units of the scaled values.
        layout: Axis order of the model's input; inferred from its shape by default.
        dtype: NumPy type to cast to at the end, even where that loses something.
    """

    x: str | None = None
    y: str | None = None
    labels: str | None = None
    resize: Extent | None = None
    crop: Extent | None = None
    channels: Channels | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Layout | None = None
    dtype: str | None = None

    @classmethod
    def from_toml(cls, path: Path) -> Preprocess:
        """Read the options from a TOML file.

        Raises:
            DataError: The file cannot be read.
            UsageError: It is no TOML, or has an unknown key or a bad value.
        """
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: is not valid TOML ({error})") from error
        options = cls.from_mapping(table, str(path))
        if options.labels is None:
            return options
        return dataclasses.replace(options, labels=str(path.parent / options.labels))

    @classmethod
    def from_options(cls, options: Iterable[str]) -> Preprocess:
        """Read ``key=value`` texts, for example ``scale=1/255`` or ``mean=0.5,0.5,0.5``.

        Raises:
            UsageError: A text is no ``key=value``, or has an unknown key or a bad value.
        """
        table: dict[str, str] = {}
        for option in options:
            key, equals, value = option.partition("=")
            if not equals:
                raise UsageError(f"preprocessing option {option!r} is not of the form key=value")
            table[key.strip()] = value.strip()
        return cls.from_mapping(table, "preprocessing")

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], where: str) -> Preprocess:
        """Read the options from plain values or their texts; ``where`` begins error messages.

        Raises:
            UsageError: A key is unknown or a value is bad.
        """
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in _PARSERS:
                raise UsageError(f"{where}: unknown key {key!r}; the keys are {_KEYS}")
            try:
                values[key] = _PARSERS[key](value)
            except (ValueError, ZeroDivisionError) as error:
                raise UsageError(f"{where}: {key}={value!r} is wrong: {error}") from error
        return cls(**values)

    def merged(self, other: Preprocess) -> Preprocess:
        """Return these options, overridden by those that ``other`` sets."""
        return dataclasses.replace(self, **other._set_fields())

    def to_dict(self) -> dict[str, Any]:
        """Return the options that are set, as plain JSON values; ``from_mapping`` reads it."""
        fields = self._set_fields()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @property
    def touches_pixels(self) -> bool:
        """Whether any option changes stored values (and not only which arrays are taken)."""
        steps = (self.resize, self.crop, self.channels, self.layout)
        return self.normalises or any(step is not None for step in steps)

    @property
    def normalises(self) -> bool:
        """Whether any of scale, mean and std is set."""
        return any(step is not None for step in (self.scale, self.mean, self.std))

    def _set_fields(self) -> dict[str, Any]:
        pairs = ((f.name, getattr(self, f.name)) for f in dataclasses.fields(self))
        return {name: value for name, value in pairs if value is not None}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a name")
    return value


def _array_key(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_text(key)}" for name, key in value.items())
    return _text(value)


def _number(value: object) -> float:
    # TOML gives numbers and texts, flags only texts; a boolean's text is no number.
    top, slash, bottom = str(value).partition("/")
    number = float(top) / float(bottom) if slash else float(top)
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _numbers(value: object) -> tuple[float, ...]:
    if isinstance(value, str):
        value = value.strip("[]").split(",")
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("expected at least one number")
    return tuple(_number(item) for item in items)


def _deviations(value: object) -> tuple[float, ...]:
    numbers = _numbers(value)
    if 0.0 in numbers:
        raise ValueError("a standard deviation cannot be 0")
    return numbers


def _extent(value: object) -> Extent:
    if isinstance(value, str):
        value = value.strip("[]").replace("x", ",").split(",")
    items = value if isinstance(value, list | tuple) else [value]
    sides = [int(str(item)) for item in items]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ValueError("expected one side, or height and width, in pixels")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _choice(*valid: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value.upper() not in valid:
            raise ValueError(f"expected one of {', '.join(valid)}")
        return value.upper()

    return parse


_PARSERS: Mapping[str, Callable[[object], object]] = {
    "x": _array_key,
    "y": _text,
    "labels": _text,
    "resize": _extent,
    "crop": _extent,
    "channels": _choice("RGB", "BGR", "GRAY"),
    "scale": _number,
    "mean": _numbers,
    "std": _deviations,
    "layout": _choice("NCHW", "NHWC"),
    "dtype": _text,
}
_KEYS = ", ".join(_PARSERS)
