"""Write docs/passes.md from the passes themselves.

python scripts/pass_pages.py docs/passes.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from pathlib import Path

from bmopt.optimizer.pass_base import Pass
from bmopt.optimizer.presets import PRESETS
from bmopt.optimizer.registry import find_pass, pass_names

_HEAD = """\
# Passes

Written by `make docs-passes` from the docstrings; edit those.

`bmopt optimize MODEL -o OUT -p PIPELINE` runs passes in order. A pipeline's text is a list of
passes with commas between; options follow in braces (`fold-constants{limit=65536}`), and
`repeat(a,b)` runs a group until it changes nothing. The name of a preset stands for its text.

An *exact* pass must not change results beyond rounding: it is checked, and rolled back if it
does. A *lossy* one may; what it costs is measured.
"""

_ATTRIBUTE = re.compile(r"^    (\w+): ")
_SECTION = re.compile(r"\n\n(Attributes|Raises):\n")


def main() -> None:
    """Write the page to the path given."""
    Path(sys.argv[1]).write_text(passes_page(), encoding="utf-8")


def passes_page() -> str:
    """Return the page: presets first, then every pass in alphabetical order."""
    presets = [f"`{name}` is\n\n```\n{_wrapped(text)}\n```\n" for name, text in PRESETS.items()]
    passes = [_pass_section(find_pass(name)) for name in pass_names()]
    return "\n".join([_HEAD, "## Presets\n", *presets, *passes])


def _pass_section(kind: type[Pass]) -> str:
    text, *sections = _SECTION.split(inspect.getdoc(kind) or "")
    parts = [f"## {kind.name}\n", f"*{kind.effect}*\n", f"{_markdown(text)}\n"]
    described = dict(zip(sections[::2], sections[1::2], strict=True)).get("Attributes", "")
    if options := _options(kind, _attributes(described)):
        parts.append("Options:\n\n" + "\n".join(options) + "\n")
    return "\n".join(parts)


def _options(kind: type[Pass], described: dict[str, str]) -> list[str]:
    assert dataclasses.is_dataclass(kind)
    return [
        f"- `{field.name}` ({_default(field)}): {described.get(field.name, '')}"
        for field in dataclasses.fields(kind)
        if field.repr
    ]


def _default(field: dataclasses.Field[object]) -> str:
    missing = field.default is dataclasses.MISSING
    return f"{field.type}, required" if missing else f"{field.type}, default {field.default!r}"


def _attributes(section: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if match := _ATTRIBUTE.match(line):
            found[match[1]] = [line[match.end() :]]
        elif found:
            found[next(reversed(found))].append(line)
    return {name: _markdown(" ".join(" ".join(lines).split())) for name, lines in found.items()}


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _wrapped(pipeline: str) -> str:
    """Break a pipeline's text at its groups, and those where they grow long."""
    lines = pipeline.replace(",repeat(", ",\nrepeat(").replace("),", "),\n").splitlines()
    return "\n".join(
        textwrap.fill(line.replace(",", ", "), 96, break_on_hyphens=False) for line in lines
    )


if __name__ == "__main__":
    main()
