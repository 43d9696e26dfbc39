"""Frozen dataclasses to JSON values and back, checked against their annotations.

Fields may be ``str``, ``int``, ``float``, ``bool``, another dataclass, ``tuple[X, ...]``,
``Mapping[str, X]``, ``Any`` (any JSON value) or one of these ``| None``.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")

_ODD_NUMBERS = ("inf", "-inf", "nan")


def to_value(record: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value; numbers that JSON lacks become ``"inf"``, ``"-inf"``, ``"nan"``."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        fields = dataclasses.fields(record)
        return {field.name: to_value(getattr(record, field.name)) for field in fields}
    if isinstance(record, Mapping):
        return {str(key): to_value(item) for key, item in record.items()}
    if isinstance(record, list | tuple):
        return [to_value(item) for item in record]
    if isinstance(record, float) and not math.isfinite(record):
        return str(record)
    return record


def from_value(kind: type[_T], value: Any, where: str) -> _T:  # noqa: ANN401 - any JSON value
    """Read a dataclass from ``to_value``'s value; fields that are left out take their default.

    Args:
        kind: The dataclass.
        value: A JSON value.
        where: What it is called in messages.

    Raises:
        ValueError: A field is missing, unknown, or of another type.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is no object")  # noqa: TRY004 - a bad file, not a bad call
    kinds = _kinds(typing.cast("Hashable", kind))
    unknown = [str(key) for key in value if key not in kinds]
    if unknown:
        raise ValueError(f"{where} has the unknown field {unknown[0]!r}")
    read = {
        name: _read(kinds[name], item, f"{where}.{name}")
        for name, item in value.items()
    }  # fmt: skip
    try:
        return kind(**read)
    except TypeError as error:
        raise ValueError(f"{where} lacks a field ({error})") from error


@functools.cache
def _kinds(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - an annotation and a JSON value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _read_one_of(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is no list")
        return tuple(_read(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is no object")
        return {str(key): _read(inner[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_value(kind, value, where)
    return _read_scalar(kind, value, where)


def _read_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:  # noqa: ANN401 - as above
    if value is None and type(None) in kinds:
        return None
    present = [kind for kind in kinds if kind is not type(None)]
    if len(present) == 1:
        return _read(present[0], value, where)
    # Several scalar kinds, as of a fact: the value is what it is.
    if type(value) in present:
        return value
    raise ValueError(f"{where} is {value!r}")


def _read_scalar(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - as above
    if kind is Any:
        return value
    if kind is float and not isinstance(value, bool):
        if isinstance(value, int | float) or value in _ODD_NUMBERS:
            return float(value)
    elif type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}, not of type {kind.__name__}")
