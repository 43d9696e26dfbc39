"""The text form of a pipeline, and the steps that it is made of.

Grammar::

    pipeline := step ("," step)*
    step     := name options? | "repeat" options? "(" pipeline ")" | preset
    options  := "{" key "=" value ("," key "=" value)* "}"
    value    := word | "quoted string" | "[" (value ("," value)*)? "]"

``repeat(...)`` runs its steps until none of them changes the model, at most ``limit`` rounds.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence

from bmopt.errors import PassError
from bmopt.optimizer.pass_base import Pass
from bmopt.optimizer.pass_options import OptionText, build_pass, options_text
from bmopt.optimizer.presets import PRESETS
from bmopt.optimizer.registry import find_pass

DEFAULT_LIMIT = 8

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([^\s,{}()\[\]="]+)|([,{}()\[\]=]))')


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Steps that run until none of them changes the model any more.

    Attributes:
        steps: Exact passes, or further groups.
        limit: The most rounds that are run.

    Raises:
        PassError: The group is empty, holds a lossy pass, or ``limit`` is not positive.
    """

    steps: tuple[Step, ...]
    limit: int = DEFAULT_LIMIT

    def __post_init__(self) -> None:
        if not self.steps or self.limit < 1:
            raise PassError("repeat(...) needs at least one pass and a limit of 1 or more")
        lossy = next((p.name for p in passes_of(self.steps) if p.effect == "lossy"), None)
        if lossy is not None:
            raise PassError(f"lossy pass {lossy!r} cannot stand in repeat(...); put it outside")

    def __str__(self) -> str:
        limit = "" if self.limit == DEFAULT_LIMIT else f"{{limit={self.limit}}}"
        return f"repeat{limit}({format_steps(self.steps)})"


Step = Pass | Repeat


def passes_of(steps: Sequence[Step]) -> Iterator[Pass]:
    """Yield every pass in ``steps``, through groups, in order."""
    for step in steps:
        if isinstance(step, Repeat):
            yield from passes_of(step.steps)
        else:
            yield step


def pass_text(rewrite: Pass) -> str:
    """Return a pass with its options, as it stands in a pipeline's text."""
    return rewrite.name + options_text(rewrite)


def format_steps(steps: Sequence[Step]) -> str:
    """Return the text that ``parse_steps`` reads back."""
    return ",".join(str(s) if isinstance(s, Repeat) else pass_text(s) for s in steps)


def parse_steps(text: str) -> tuple[Step, ...]:
    """Return the steps that ``text`` names; presets are expanded in place.

    Raises:
        PassError: The text does not parse, or names an unknown pass or option.
    """
    reader = _Reader(text)
    steps = _read_steps(reader)
    if reader.token is not None:
        raise reader.error("a comma or the end")
    return steps


class _Reader:
    """Tokens of a pipeline's text, one ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = _tokens(text)
        self.token: str | None = None
        self.advance()

    def advance(self) -> str | None:
        """Return the current token and step to the next."""
        current, self.token = self.token, next(self._tokens, None)
        return current

    def take(self, mark: str) -> bool:
        """Step over ``mark`` if it comes next."""
        if self.token != mark:
            return False
        self.advance()
        return True

    def expect(self, mark: str) -> None:
        """Step over ``mark``; raise where something else comes next."""
        if not self.take(mark):
            raise self.error(repr(mark))

    def word(self, what: str) -> str:
        """Return the next token, which must be a word or a quoted string."""
        token = self.token
        if token is None or (len(token) == 1 and token in ",{}()[]="):
            raise self.error(what)
        self.advance()
        return str(json.loads(token)) if token.startswith('"') else token

    def error(self, wanted: str) -> PassError:
        found = "the end" if self.token is None else repr(self.token)
        return PassError(f"pipeline {self.text!r}: expected {wanted}, found {found}")


def _tokens(text: str) -> Iterator[str]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise PassError(f"pipeline {text!r}: cannot read {text[position:]!r}")
        yield match.group().strip()
        position = match.end()


def _read_steps(reader: _Reader) -> tuple[Step, ...]:
    steps = list(_read_step(reader))
    while reader.take(","):
        steps += _read_step(reader)
    return tuple(steps)


def _read_step(reader: _Reader) -> tuple[Step, ...]:
    name = reader.word("a pass")
    if name in PRESETS and reader.token != "{":
        return parse_steps(PRESETS[name])
    options = _read_options(reader) if reader.take("{") else {}
    if name != "repeat":
        return (build_pass(find_pass(name), options),)
    limit = options.pop("limit", str(DEFAULT_LIMIT))
    if options or not (isinstance(limit, str) and limit.isdecimal()):
        raise PassError("repeat{...} has one option, limit, a whole number")
    reader.expect("(")
    steps = _read_steps(reader)
    reader.expect(")")
    return (Repeat(steps, int(limit)),)


def _read_options(reader: _Reader) -> dict[str, OptionText]:
    options: dict[str, OptionText] = {}
    while not reader.take("}"):
        if options:
            reader.expect(",")
        key = reader.word("an option")
        reader.expect("=")
        options[key] = _read_list(reader) if reader.take("[") else reader.word("a value")
    return options


def _read_list(reader: _Reader) -> tuple[str, ...]:
    words: list[str] = []
    while not reader.take("]"):
        if words:
            reader.expect(",")
        words.append(reader.word("a value"))
    return tuple(words)
