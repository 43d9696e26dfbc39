from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.core.board import Board, BoardFacts
from bmopt.errors import UsageError

_NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)
_ADDRESSES = st.one_of(_NAMES, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


def _boards() -> st.SearchStrategy[Board]:
    ports = st.integers(1, 65535)
    plain = st.builds(Board, _ADDRESSES, ports, st.one_of(st.just(""), _NAMES))
    trackers = st.builds(Board, _ADDRESSES, ports, _NAMES, st.just(True))
    return st.one_of(plain, trackers)


@given(_boards())
def test_its_text_reads_back(board: Board) -> None:
    assert Board.from_text(str(board)) == board


@given(_boards())
def test_its_address_parses(board: Board) -> None:
    found = Board.parse(board.address, key=board.key, is_tracker=board.is_tracker)
    assert found == board


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "pi",
        "pi:",
        ":9090",
        "pi:0",
        "pi:65536",
        "pi:-1",
        "pi:9o9o",
        "::1:90",
        "[]:90",
        "a b:9",
    ],
)
def test_what_is_no_board_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"board|spaces"):
        Board.parse(text)


def test_a_tracker_needs_a_key() -> None:
    with pytest.raises(UsageError, match="--board KEY"):
        Board.parse("pi:9190", is_tracker=True)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (BoardFacts(), "tells nothing of itself"),
        (BoardFacts("aarch64"), "aarch64"),
        (BoardFacts("aarch64", "cortex-a76", 4, 2), "aarch64 cortex-a76, 4 cores"),
        (BoardFacts("riscv64", cores=1), "riscv64, 1 core"),
    ],
)
def test_facts_are_told_in_a_few_words(facts: BoardFacts, text: str) -> None:
    assert str(facts) == text
