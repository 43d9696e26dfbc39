from __future__ import annotations

import pytest

from bmopt.core.target import DEVICES, Target, all_targets
from bmopt.errors import TargetError


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ort-fp32", Target("ort", "fp32")),
        ("ort-int8", Target("ort", "int8")),
        ("ort-int8:x86-vnni", Target("ort", "int8", "x86-vnni")),
        ("ort-int8:arm64-dotprod", Target("ort", "int8", "arm64-dotprod")),
    ],
)
def test_a_target_is_parsed_and_printed(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert str(target) == text


def test_every_target_and_device_parses() -> None:
    for name in all_targets():
        engine = Target.parse(name).engine
        for device in DEVICES[engine]:
            assert Target.parse(f"{name}:{device}").device == device


@pytest.mark.parametrize("text", ["", "ort", "ort-", "-int8", "ort-int4", "int8", "ORT-int8"])
def test_an_unknown_target_lists_the_valid_ones(text: str) -> None:
    with pytest.raises(TargetError, match="valid are ort-fp32, ort-int8"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["ort-int8:", "ort-int8:cuda", "ort-int8:x86-vnni:x"])
def test_an_unknown_device_lists_the_valid_ones(text: str) -> None:
    with pytest.raises(TargetError, match=r"ort has x86-vnni, .*arm64-dotprod"):
        Target.parse(text)


def test_targets_are_values() -> None:
    assert len({Target.parse("ort-int8"), Target.parse("ort-int8")}) == 1
