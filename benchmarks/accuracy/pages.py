"""All results as Markdown, for the terminal and for docs/accuracy.md alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from marks import Marks

from accuracy.results import Results
from accuracy.score_tables import score_parts
from accuracy.tables import cost_parts, ladder_parts, latency_parts

SECTIONS = ("accuracy", "latency", "ladder", "cost")
"""Names of the marks in the page, in its order."""


def sections(results: Results) -> dict[str, str]:
    """Return the text of every section that something was measured for."""
    parts: dict[str, Iterator[str]] = {
        "accuracy": score_parts(results.models),
        "latency": latency_parts(results.models),
        "ladder": ladder_parts(results.models),
        "cost": cost_parts(results.models),
    }
    texts = {name: "\n\n".join(parts[name]) for name in SECTIONS}
    return {name: f"{_how(results)}\n\n{text}" for name, text in texts.items() if text}


def _how(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    return (
        f"```sh\n{results.command}\n```\n\n"
        f"Measured on {results.cpu}, preset `{results.preset}`. {versions}."
    )


def document(results: Results) -> str:
    """Return all sections."""
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in sections(results).items())


def require_marks(page: Path) -> None:
    """Check that a page can take every section.

    Raises:
        ValueError: It lacks a mark, has one twice, or has them in the wrong order.
    """
    for name in SECTIONS:
        Marks(name).require(page)


def write_docs(page: Path, results: Results) -> None:
    """Put every section that there is between its marks; the others stay as they are.

    Raises:
        ValueError: See ``require_marks``.
    """
    require_marks(page)
    for name, text in sections(results).items():
        Marks(name).put(page, text)
