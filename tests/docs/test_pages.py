"""The documentation says what the code does: pages are checked against what they describe."""

from __future__ import annotations

import argparse
import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from bmopt.cli.main import VERBS
from bmopt.cli.verb import Verb
from bmopt.core.target import DEVICES, all_targets
from bmopt.data.preprocess import Preprocess
from bmopt.workflow.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))


def section(page: str, heading: str) -> str:
    """Return the text under a second-level heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return next(part for part in parts if part.splitlines()[0] == heading)


def options(verb: Verb) -> set[str]:
    parser = argparse.ArgumentParser(add_help=False)
    verb.add_arguments(parser)
    found = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", parser.format_usage())
    return set(found) | {name for name in parser._option_string_actions if name.startswith("--")}


def test_passes_page_is_up_to_date() -> None:
    """`make docs-passes` writes it."""
    pages = runpy.run_path(str(ROOT / "scripts" / "pass_pages.py"))
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    assert page == pages["passes_page"](), "run make docs-passes"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_cli_page_has_exactly_the_options_of_the_verb(verb: Verb) -> None:
    text = section("cli.md", f"bmopt {verb.name}")
    rows = re.findall(r"^\| `(-[^|]*)` \|", text, flags=re.MULTILINE)
    written = {name for row in rows for name in re.findall(r"--?[a-z][a-z-]*", row)}
    assert written == options(verb)


def test_cli_page_has_every_option_of_a_recipe() -> None:
    text = section("cli.md", "Recipes")
    written = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert written == {field.name for field in dataclasses.fields(Recipe)}


def test_data_page_has_every_preprocessing_key() -> None:
    text = section("data.md", "Preprocessing")
    written = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert written == {field.name for field in dataclasses.fields(Preprocess)}


def test_readme_has_every_target() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    devices = [f"ort-int8:{device}" for device in DEVICES["ort"]]
    missing = [target for target in (*all_targets(), *devices) if f"`{target}`" not in text]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
