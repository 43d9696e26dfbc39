from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.report.markup import Markup, bar, element, joined, table


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    drawn = element("p", text, title=text)
    assert drawn.count("<") == 2
    assert html.unescape(drawn.partition(">")[2].rpartition("<")[0]) == text
    assert drawn.count('"') == 2


def test_markup_stays_markup_and_nothing_is_nothing() -> None:
    inner = element("b", "a & b")
    assert element("p", inner, None, "<") == "<p><b>a &amp; b</b>&lt;</p>"
    assert joined(None, "") == ""


def test_attributes() -> None:
    drawn = element("line", x1=1.25, y1=2.0, x2=-0.01, class_="grid", aria_hidden="true", id=None)
    assert drawn == '<line x1="1.2" y1="2" x2="0" class="grid" aria-hidden="true"></line>'
    assert element("input", hidden="") == '<input hidden="">'


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("a",), []) == ""
    drawn = table(("<a>", "n"), [("x", Markup("<i></i>"))], numbers=(1,), caption="c")
    assert "&lt;a&gt;" in drawn
    assert '<td class="n"><i></i></td>' in drawn


def test_bars_stay_in_their_cell() -> None:
    assert "width:100.0%" in bar(7.0)
    assert "width:0.0%" in bar(float("-inf"))
