"""Protocol buffers in their text form: written from plain values, without a schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeAlias

_PLAIN = range(0x20, 0x7F)


@dataclasses.dataclass(frozen=True)
class Symbol:
    """The name of an enumeration's value, which has no quotes."""

    name: str


Value: TypeAlias = "str | int | bool | Symbol | Sequence[int] | Message"


@dataclasses.dataclass(frozen=True)
class Message:
    """Fields in order; a repeated one is there several times."""

    fields: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, *fields: tuple[str, Value]) -> Message:
        """Make one of (name, value) pairs."""
        return cls(fields)


def text(message: Message) -> str:
    """Return the text form, with two blanks of indentation a level."""
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterable[str]:
    for name, value in message.fields:
        if isinstance(value, Message):
            yield f"{indent}{name} {{"
            yield from _lines(value, f"{indent}  ")
            yield f"{indent}}}"
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _scalar(value: str | int | bool | Symbol | Sequence[int]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value.encode()))}"'
    return str(value) if isinstance(value, int) else f"[ {', '.join(map(str, value))} ]"


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return f"\\{chr(byte)}"
    return chr(byte) if byte in _PLAIN else f"\\{byte:03o}"
