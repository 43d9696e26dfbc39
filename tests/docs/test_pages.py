"""The documentation says what the code does: pages are checked against what they describe."""

from __future__ import annotations

import argparse
import dataclasses
import re
import runpy
from collections.abc import Iterable
from pathlib import Path

import pytest

from bmopt.backends.nvinfer.lint import RULES
from bmopt.backends.nvinfer.schemes import scheme_for
from bmopt.backends.tvm.lint import RULES as TVM_RULES
from bmopt.cli.engine_options import add_engine
from bmopt.cli.main import VERBS
from bmopt.cli.verb import Verb
from bmopt.core.scheme import FloatRules
from bmopt.core.target import DEVICES, all_targets
from bmopt.data.preprocess import Preprocess
from bmopt.workflow.quantizing import format_rules
from bmopt.workflow.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
GPU_TARGETS = [name for name in all_targets() if name.startswith(("trt", "rtx"))]
PROVIDERS = ("cuda", "tensorrt")


def section(page: str, heading: str) -> str:
    """Return the text under a second-level heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return next(part for part in parts if part.splitlines()[0] == heading)


def options(verb: Verb) -> set[str]:
    parser = argparse.ArgumentParser(prog="bmopt", add_help=False)
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


def not_named(names: Iterable[str], page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [name for name in names if f"`{name}`" not in text and f"`:{name}`" not in text]


def ort_targets() -> list[str]:
    heads = [name for name in all_targets() if name.startswith("ort")]
    return [f"{head}:{device}" for head in heads for device in DEVICES[head]]


def test_readme_has_every_target_and_device() -> None:
    devices = (*DEVICES["rtx-int8"], *DEVICES["tvm-int8"])
    assert not not_named([*all_targets(), *ort_targets(), *devices], "README.md")


def test_tvm_page_has_every_target_and_device() -> None:
    targets = [name for name in all_targets() if name.startswith("tvm")]
    assert not not_named([*targets, *DEVICES["tvm-int8"]], "docs/tvm.md")


def test_tensorrt_page_has_every_target_and_device_of_a_gpu() -> None:
    providers = [name for name in ort_targets() if name.endswith(PROVIDERS)]
    names = [*GPU_TARGETS, *providers, *DEVICES["rtx-int8"]]
    assert not not_named(names, "docs/tensorrt.md")


def test_tensorrt_page_has_exactly_the_options_of_a_build() -> None:
    parser = argparse.ArgumentParser(prog="bmopt", add_help=False)
    add_engine(parser)
    text = section("tensorrt.md", "Options of the build")
    written = re.findall(r"^\| `(--[a-z-]+)", text, flags=re.MULTILINE)
    assert written == [name for name in parser._option_string_actions if name.startswith("--")]


def test_tensorrt_page_has_exactly_the_rules_of_the_linter() -> None:
    text = section("tensorrt.md", "Lint rules")
    written = re.findall(r"^\| `(TRT\d+)` \| (.*) \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)
    assert written == [(rule.id, rule.name, rule.level, rule.summary) for rule in RULES]


def test_tvm_page_has_exactly_the_rules_of_the_linter() -> None:
    text = section("tvm.md", "What is taken, and what is refused")
    written = re.findall(r"^ *\| `(TVM\d+)` \| (.*) \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)
    assert written == [(rule.id, rule.name, rule.level, rule.summary) for rule in TVM_RULES]


def test_tensorrt_page_has_the_rules_of_placement() -> None:
    text = section("tensorrt.md", "Where Q/DQ goes, and why")
    for target in GPU_TARGETS:
        if target.endswith(("int8", "fp8")):
            rules = format_rules(scheme_for(*target.split("-")).rules)
            assert f"| `{target}` | `{rules}` |" in text
    meant = set(re.findall(r"^\| `(\w+)=\w+` \|", text, flags=re.MULTILINE))
    assert meant == {field.name for field in dataclasses.fields(FloatRules)}


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))
    for file, anchor in links:
        there = page.parent / file if file else page
        assert there.exists(), file
        assert not anchor or anchor in anchors(there), f"{file}#{anchor}"
