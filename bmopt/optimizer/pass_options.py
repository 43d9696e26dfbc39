"""A pass' options as text: typed, printed and documented by the fields of its dataclass."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Mapping

from bmopt.errors import PassError
from bmopt.optimizer.pass_base import Pass

OptionText = str | tuple[str, ...]
"""An option's value as written: one word, or the words of a bracketed list."""

_BARE = re.compile(r"[^\s,{}()\[\]=\"]+")
_TRUTH = {"true": True, "false": False}


def build_pass(kind: type[Pass], options: Mapping[str, OptionText]) -> Pass:
    """Return a pass of ``kind`` with ``options`` converted to the types of its fields.

    Raises:
        PassError: There is no such option, its value has the wrong type, or one is missing.
    """
    fields = {field.name: field for field in _fields(kind)}
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for written, text in options.items():
        name = written.replace("-", "_")
        if name not in fields:
            raise PassError(_unknown_option(kind.name, written, list(fields)))
        values[name] = _convert(f"{kind.name}{{{written}=}}", text, hints[name])
    missing = [name for name, field in fields.items() if _is_required(field, values)]
    if missing:
        raise PassError(f"pass {kind.name!r} needs the option {missing[0]!r}")
    return kind(**values)


def options_text(rewrite: Pass) -> str:
    """Return ``{name=value,...}`` for the options that differ from their defaults, else ``""``.

    An option that is no word, number or list of them (a plan, say) is shown as ``<Type>``; such
    text is for reading only. A field declared with ``repr=False`` is no part of the text.
    """
    shown = [
        f"{field.name}={_value_text(getattr(rewrite, field.name))}"
        for field in _fields(rewrite)
        if field.repr
        and (_is_required(field, {}) or getattr(rewrite, field.name) != _default(field))
    ]
    return f"{{{','.join(shown)}}}" if shown else ""


def _fields(rewrite: type[Pass] | Pass) -> tuple[dataclasses.Field[object], ...]:
    assert dataclasses.is_dataclass(rewrite), f"{rewrite} is not a dataclass"
    return dataclasses.fields(rewrite)


def _is_required(field: dataclasses.Field[object], values: Mapping[str, object]) -> bool:
    return (
        field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    )


def _default(field: dataclasses.Field[object]) -> object:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _unknown_option(name: str, option: str, known: list[str]) -> str:
    if not known:
        return f"pass {name!r} has no options, so no {option!r}"
    near = difflib.get_close_matches(option, known, n=3) or sorted(known)
    return f"pass {name!r} has no option {option!r}; did you mean {', '.join(near)}?"


def _convert(where: str, text: OptionText, hint: object) -> object:
    """Return ``text`` as a value of the annotated type ``hint``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text == "none":
            return None
        return _convert(where, text, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        words = (text,) if isinstance(text, str) else text
        return tuple(_convert(where, word, arguments[0]) for word in words)
    if origin is typing.Literal:
        if text not in arguments:
            raise PassError(f"{where} must be one of {', '.join(map(str, arguments))}, not {text}")
        return text
    return _scalar(where, text, hint)


def _scalar(where: str, text: OptionText, hint: object) -> object:
    if hint not in (bool, int, float, str):
        raise PassError(f"{where} can be set from Python only")
    if not isinstance(text, str):
        raise PassError(f"{where} takes one value, not a list")
    try:
        if hint is bool:
            return _TRUTH[text.lower()]
        return text if hint is str else (int(text) if hint is int else float(text))
    except (KeyError, ValueError):
        wanted = "true or false" if hint is bool else f"of type {getattr(hint, '__name__', hint)}"
        raise PassError(f"{where} must be {wanted}, not {text!r}") from None


def _value_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and value != "none" else json.dumps(value)
    if isinstance(value, tuple) and all(isinstance(v, (bool, int, float, str)) for v in value):
        return f"[{','.join(_value_text(v) for v in value)}]"
    return f"<{type(value).__name__}>"
