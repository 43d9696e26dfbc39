from __future__ import annotations

import pytest

from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.errors import PruningError


@pytest.mark.parametrize("text", ["2:4", "1:4", "8:16", "4x4=0.5", "1x8=0.75", "unstructured=0.9"])
def test_text_round_trips(text: str) -> None:
    assert str(SparsityPattern.parse(text)) == text


def test_what_a_pattern_says() -> None:
    assert SparsityPattern.parse("1:4").ratio == 0.75
    block = SparsityPattern.parse("4x1", 0.3)
    assert (block.rows, block.columns, block.ratio, block.is_block) == (4, 1, 0.3, True)
    assert SparsityPattern.parse("unstructured").ratio == 0.5
    assert not SparsityPattern.parse("2:4").is_block


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4:4", "N is 1 to M - 1"),
        ("0:4", "N is 1 to M - 1"),
        ("2:128", "M at most 64"),
        ("2:4=0.5", "leave out 0.5"),
        ("1x1", "one is above 1"),
        ("0x4", "the sides of a block"),
        ("4x4=1.5", "above 0 and below 1, not 1.5"),
        ("4x4=nan", "above 0 and below 1, not nan"),
        ("4x4=half", "'half' is no number"),
        ("some", "unknown pattern 'some'; valid are N:M"),
        ("", "unknown pattern ''"),
    ],
)
def test_refusals_say_what_is_valid(text: str, message: str) -> None:
    with pytest.raises(PruningError, match=message):
        SparsityPattern.parse(text)
