from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from bmopt.bench.quantities import NONE
from bmopt.bench.report.page import Run, page
from bmopt.core.bench_document import (
    BenchDocument,
    PlacedNode,
    Placement,
    Subject,
    TensorSqnr,
)
from bmopt.core.measurement import Environment, Measurement, Settings
from tests.bench.report.documents import (
    ODD,
    failed_document,
    full_document,
    layers,
    measurement,
    odd_document,
    one_subject_document,
    processes,
    wide_document,
)

VOID = ("meta", "br", "input")


class Page(HTMLParser):
    """Checks that elements nest, and collects ids, references and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings = 0
        self.values: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute twice"
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            text = value or ""
            assert not key.startswith("on")
            self.values.append(f"{key}={text}")
            if key == "id":
                self.ids.append(text)
            elif key in ("for", "aria-labelledby"):
                self.references += text.split()
            elif key == "href":
                assert text.startswith("#")
                self.references.append(text[1:])
        self.headings += tag == "h2"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def drawn(*documents: BenchDocument) -> str:
    return page([Run.of(document, f"run {i}") for i, document in enumerate(documents)])


def section(text: str, slug: str) -> str:
    """Return the section with that id."""
    return next(one for one in text.split("<section ") if one.startswith(f'id="r1-{slug}"'))


def rows(markup: str) -> list[str]:
    """Return the rows of all tables without tags, their cells divided by ``|``."""
    found = re.findall(r"<tr>(.*?)</tr>", markup, flags=re.DOTALL)
    cells = [re.sub(r"</t[dh]><t[dh][^>]*>", "|", one) for one in found]
    return [re.sub(r"<[^>]+>", "", one) for one in cells]


@pytest.mark.parametrize(
    "documents",
    [
        [BenchDocument()],
        [full_document()],
        [odd_document()],
        [one_subject_document()],
        [failed_document()],
        [wide_document()],
        [full_document(), BenchDocument(), full_document()],
    ],
    ids=["empty", "full", "odd", "one", "failed", "wide", "three"],
)
def test_pages_are_valid_and_need_nothing_else(documents: Sequence[BenchDocument]) -> None:
    text = drawn(*documents)
    parsed = Page(text)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert set(parsed.references) <= set(parsed.ids)
    assert not re.search(r"https?:|url\(|@import|src=|nan|NaN", text.replace("http-equiv", ""))
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert len(text.encode()) < 400_000


def test_the_same_document_gives_the_same_bytes() -> None:
    assert drawn(full_document()) == drawn(full_document())
    again = BenchDocument.from_json(full_document().to_json())
    assert drawn(again) == drawn(full_document())


def test_a_full_page_has_every_section() -> None:
    text = drawn(full_document())
    assert Page(text).headings == 14
    assert "Not measured in this run" not in text
    assert "int8 is 2.5" in text
    assert "needs 4603, 960 ran" in text
    assert "4866689d" in text
    assert "--precision 1%" in text
    assert "stop what else runs" in text


def test_hostile_text_stays_text() -> None:
    text = page([Run.of(odd_document(), ODD)])
    assert '<b>&"' not in text
    assert text.count("<script>") == 1
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 60


def test_what_was_not_measured_is_named() -> None:
    text = drawn(BenchDocument())
    assert "Not measured in this run: latency, noise floor, load scenarios" in text
    assert Page(text).headings == 1


def test_failures_are_told_beside_what_did_run() -> None:
    subjects = (Subject("a"), Subject("b", error="the engine died"), Subject("c", size_bytes=3))
    text = drawn(BenchDocument(subjects=subjects, measurement=measurement({"a": 1e6, "c": 2e6})))
    assert "the engine died" in text
    assert "c is slower than a" in text


def test_a_subject_that_was_never_measured_shows_first_and_in_the_table() -> None:
    summary = section(drawn(failed_document()), "summary")
    assert summary.index("no kernel for MatMulNBits") < summary.index("int8 is 2.5")
    row = next(one for one in rows(summary) if "int4" in one)
    assert "failed" in row
    assert row.count(NONE) == 6
    assert not any("failed" in one for one in rows(summary) if "int4" not in one)


def test_a_reference_that_failed_shows_too() -> None:
    subjects = (Subject("a", error="it hung"), Subject("b"))
    text = drawn(BenchDocument(subjects=subjects, measurement=measurement({"b": 1e6})))
    assert "it hung" in section(text, "summary")
    alone = drawn(BenchDocument(subjects=(Subject("a", error="it hung"),)))
    assert "it hung" in section(alone, "summary")


def test_the_gate_comes_first_with_its_worst_outcome() -> None:
    text = drawn(failed_document())
    assert text.index("<h2>Gate</h2>") < text.index("<h2>Summary</h2>")
    gate = section(text, "gate")
    assert "4 conditions: 1 passed, 2 undecided, 1 failed." in gate
    assert gate.count("badge good") == 1
    assert gate.count("badge open") == 2
    assert gate.count("badge bad") == 2, "the condition and the whole"
    assert "int4 was not timed" in gate
    assert "<h3>int8</h3>" in gate
    assert "<h2>Gate</h2>" not in drawn(one_subject_document())


def test_one_subject_has_no_empty_columns() -> None:
    text = drawn(one_subject_document())
    for word in ("ratio", "change", "99 % interval", "McNemar"):
        assert word not in section(text, "accuracy") + section(text, "summary")
        assert word in section(drawn(full_document()), "accuracy") + section(
            drawn(full_document()), "summary"
        )
    assert "ABBA" not in text
    assert "top1 71.88 %" in section(text, "summary")
    assert "160" in section(text, "costs")


def test_processes_of_a_subject_are_one_row_with_their_range() -> None:
    costs = processes("a", 3) + processes("b", 1)
    found = section(drawn(BenchDocument(processes=costs)), "costs")
    table = rows(found)[1:3]
    assert len([one for one in rows(found) if one.startswith("a|3|")]) == 1
    loads = sorted(one.load_ns or 0 for one in costs if one.subject == "a")
    assert table[0].startswith(f"a|3|{loads[1] / 1e6:.1f} ms{loads[0] / 1e6:.1f} ms to ")
    assert " to " not in table[1], "one process has no range"
    assert "imports (ms)|95.0 to 97.0" in "".join(rows(found))
    assert "file in the page cache|no" in "".join(rows(found))


def test_sixty_throughputs_are_ten_rows() -> None:
    document = wide_document()
    assert len(document.throughput) == 60
    found = section(drawn(document), "costs")
    shown = [one for one in rows(found) if one.count("|") == 7]
    assert len(shown) == 1 + 10
    assert shown[0] == "|threads|batch 1|batch 2|batch 4|batch 8|batch 16|batch 32"
    assert shown[1].startswith("mobilenet_v2.fp32|1|161|185|")


def test_a_measurement_without_blocks_or_rivals_is_no_latency() -> None:
    none = Measurement(("a", "b"), (), Environment({}), Settings())
    assert "Not measured in this run: latency" in drawn(BenchDocument(measurement=none))
    alone = drawn(BenchDocument(measurement=measurement({"a": 1e6})))
    assert "Latency percentiles" in alone
    assert "ratio per turn" not in alone


def test_scenarios_say_what_holds_and_what_is_not_valid() -> None:
    text = drawn(full_document())
    assert "rate with p99 &lt;= 100 ms: 500 queries/s" in text
    assert "needs 459, 60 ran" in text
    assert "64 queries were to run, 60 did" in text
    assert "offline, fp32" not in text, "where all is due at once, latency says nothing"


def test_several_runs_get_an_overview() -> None:
    text = drawn(full_document(), full_document())
    assert "2 benchmarks" in text
    assert "runs were not beside each other" in text
    assert 'href="#r2"' in text


def test_a_busy_noise_floor_is_told() -> None:
    noise = measurement({"A": 1e6, "A again": 1.2e6})
    text = drawn(dataclasses.replace(full_document(), noise_floor=noise))
    assert "do not trust differences of this size" in text


def test_huge_documents_stay_small() -> None:
    names = [f"encoder/layer.{i}/attention/output/dense/MatMul" for i in range(3000)]
    nodes = tuple(PlacedNode(name, "MatMul", i % 2 == 0) for i, name in enumerate(names))
    huge = BenchDocument(
        measurement=measurement({"a": 1e6, "b": 9e5}, turns=400, samples=100),
        layers=(layers("a", 3000),),
        layer_sqnr=tuple(TensorSqnr(name, float(i % 50)) for i, name in enumerate(names)),
        placement=(Placement("a", nodes),),
    )
    text = drawn(huge)
    Page(text)
    assert len(text.encode()) < 1_200_000
    assert "another 2000 are in the JSON" in text
    assert "another 2500 are in the JSON" in text
    assert "of 400 turns are drawn" in text


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, as WCAG 2.1 defines it."""
    lights = sorted((luminance(one), luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def luminance(colour: str) -> float:
    text = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_in_every_theme() -> None:
    """4.5 for text, as WCAG's level AA asks for."""
    themes = re.findall(r":root \{(.*?)\}", drawn(BenchDocument()), flags=re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", theme))
        for name in ("ink", "quiet", "c0", "c1", "c2", "c3"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, name
        for name in ("good", "bad", "warn"):
            assert contrast(colours[name], colours[f"{name}-soft"]) >= 4.5, name


def test_what_pruning_tried_is_drawn_and_listed() -> None:
    told = section(drawn(full_document()), "pruning")
    assert "Latency, top1 and size" in told
    listed = rows(told)
    assert len(listed) == 5
    assert listed[3].startswith("cut 2|0.410|1.760|0.910|0.890|0.850|299 kB|Pareto, chosen")
    assert listed[4] == "cut 3||||0.900|0.900|310 kB|"
