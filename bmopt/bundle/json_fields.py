"""Untrusted JSON, read with limits and checked field by field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from bmopt.errors import BundleError

T = TypeVar("T")

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING, _CLOSING = "[{", "]}"


def parse(data: bytes, where: str, *, max_bytes: int, max_nesting: int) -> Fields:
    """Return the JSON object in ``data``.

    Raises:
        BundleError: It is too large, nested too deeply, names a key twice, or is no JSON object.
    """
    if len(data) > max_bytes:
        raise BundleError(f"{where}: is larger than {max_bytes >> 20} MiB; it is no manifest")
    try:
        text = data.decode("utf-8")
        _check_nesting(text, where, max_nesting)
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: is no JSON ({error})") from error
    return Fields(value, where)


def _check_nesting(text: str, where: str, most: int) -> None:
    depth = 0
    for character in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if character in _OPENING else -1
        if depth > most:
            raise BundleError(f"{where}: is nested more than {most} levels deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


class Fields:
    """A JSON object whose fields are taken with their types; ``where`` begins messages."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise BundleError(f"{where}: expected an object")
        self.value: dict[str, Any] = value
        self.where = where

    def _take(self, key: str) -> Any:  # noqa: ANN401 - any JSON value
        value = self.value.get(key)
        if value is None:
            raise BundleError(f"{self.where}: {key} is missing")
        return value

    def _wrong(self, key: str, expected: str) -> BundleError:
        return BundleError(f"{self.where}: {key} has to be {expected}")

    def text(self, key: str) -> str:
        """Return a text without NUL that UTF-8 can hold."""
        return _text(self._take(key), self._wrong(key, "a text"))

    def integer(self, key: str) -> int:
        """Return a whole number from 0 to 2^63 - 1."""
        value = self._take(key)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise self._wrong(key, "a whole number from 0 on")
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        return _number(self._take(key), self._wrong(key, "a number"))

    def choice(self, key: str, valid: tuple[str, ...]) -> str:
        """Return a text that is one of ``valid``."""
        value = self.text(key)
        if value not in valid:
            raise self._wrong(key, f"one of {', '.join(valid)}, not {value[:80]!r}")
        return value

    def child(self, key: str) -> Fields:
        """Return an object."""
        return Fields(self._take(key), f"{self.where}: {key}")

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """Return what ``read`` takes from ``key``; None where it is null or missing."""
        return None if self.value.get(key) is None else read(key)

    def objects(self, key: str) -> list[Fields]:
        """Return a list of objects."""
        items = self.items(key)
        return [Fields(item, f"{self.where}: {key}[{i}]") for i, item in enumerate(items)]

    def items(self, key: str) -> list[Any]:
        """Return a list of anything."""
        value = self._take(key)
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        wrong = self._wrong(key, "a list of texts")
        return tuple(_text(item, wrong) for item in self.items(key))

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of ``count`` finite numbers."""
        wrong = self._wrong(key, f"a list of {count} numbers")
        found = tuple(_number(item, wrong) for item in self.items(key))
        if len(found) != count:
            raise wrong
        return found

    def integers(self, key: str, *, least: int) -> tuple[int, ...]:
        """Return a list of whole numbers from ``least`` to 2^63 - 1."""
        found = self.items(key)
        if not all(type(item) is int and least <= item < 1 << 63 for item in found):
            raise self._wrong(key, f"a list of whole numbers from {least} on")
        return tuple(found)

    def text_map(self, key: str) -> dict[str, str]:
        """Return an object of texts, empty where it is null or missing."""
        child = self.optional(key, self.child)
        return {} if child is None else {name: child.text(name) for name in child.value}


def _text(value: object, wrong: BundleError) -> str:
    if not isinstance(value, str) or "\0" in value or not value.isprintable():
        raise wrong
    return value


def _number(value: object, wrong: BundleError) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    try:
        number = float(value)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(number):
        raise wrong
    return number
