"""What kept an 8-bit model's accuracy, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmopt.cli.output import print_table, say

_SHOWN_LAYERS = 10


def print_budget(budget: Mapping[str, Any]) -> None:
    """Print every rung that was tried and whether it kept to the budget."""
    rows = [
        (rung["rung"], str(rung["products_in_integers"]), _verdict(rung), rung["text"])
        for rung in budget["rungs"]
    ]
    if not rows:
        say(budget["text"], style="green" if budget["met"] else "bold red")
        return
    say()
    print_table(("rung", "products", "budget", ""), rows, right=(1,))
    colour = "bold green" if budget["met"] else "bold red"
    kept = "met" if budget["met"] else "MISSED"
    say(
        f"the budget is {kept} by {budget['kept']!r}, after {budget['evaluations']} runs over "
        "the validation samples",
        style=colour,
    )


def print_refinement(refinement: Mapping[str, Any], *, verbose: bool) -> None:
    """Print the layers that are furthest from float, and what was done to them.

    Args:
        refinement: As ``compile_model`` reports it.
        verbose: All layers, in the order of the graph.
    """
    layers = refinement["layers"]
    if not layers:
        return
    say(f"weights were refined by {', '.join(refinement['steps'])}")
    worst = sorted(layers, key=lambda layer: float(layer["after_db"]))
    shown = layers if verbose else worst[:_SHOWN_LAYERS]
    rows = [
        (
            layer["node"],
            f"{float(layer['before_db']):.1f} dB",
            f"{float(layer['after_db']):.1f} dB",
            ", ".join(layer["steps"]),
        )
        for layer in shown
    ]
    print_table(("layer", "rounded to nearest", "refined", "by"), rows, right=(1, 2))
    if len(layers) > len(shown):
        say(f"these are the furthest from float of {len(layers)}; --verbose lists all")


def _verdict(rung: Mapping[str, Any]) -> str:
    word = "met" if rung["met"] else "missed"
    return word if rung["decided"] else f"{word}, undecided"
