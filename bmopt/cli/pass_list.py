"""``bmopt optimize --list-passes``."""

from __future__ import annotations

from bmopt.cli.output import print_table, say


def print_passes() -> None:
    """Print every pass with its effect and the first line of its documentation."""
    from bmopt.optimizer.presets import PRESETS
    from bmopt.optimizer.registry import find_pass, pass_names

    kinds = [find_pass(name) for name in pass_names()]
    rows = [(kind.name, kind.effect, _first_line(kind.__doc__)) for kind in kinds]
    print_table(("pass", "effect", "what it does"), rows)
    for name, text in PRESETS.items():
        say()
        say(f"{name} = {text}")


def _first_line(docstring: str | None) -> str:
    paragraph = (docstring or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).replace("``", "")
