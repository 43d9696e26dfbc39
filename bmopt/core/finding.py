"""What a linter says of a model."""

from __future__ import annotations

import dataclasses
from typing import Literal

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""``error``: the engine refuses the model. ``warning``: it runs, but not as its Q/DQ nodes ask
for. ``note``: it runs as asked, at a cost that could be avoided."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One thing that a linter looks for.

    Attributes:
        id: For example ``"TRT001"``; it never changes its meaning.
        name: For example ``"non-zero-zero-point"``.
        level: How bad a violation is.
        summary: What the engine wants, in one sentence.
    """

    id: str
    name: str
    level: Level
    summary: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """One violation.

    Attributes:
        rule: The rule.
        node: Name of the node at fault, empty where it is the model's.
        message: What is wrong there, in one line.
        fix: What to do about it, in one line.
    """

    rule: Rule
    node: str
    message: str
    fix: str
