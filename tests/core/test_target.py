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
        ("ort-fp16:cuda", Target("ort", "fp16", "cuda")),
        ("ort-int8:tensorrt", Target("ort", "int8", "tensorrt")),
        ("trt-bf16", Target("trt", "bf16")),
        ("rtx-int8:sm86+sm89", Target("rtx", "int8", "sm86+sm89")),
    ],
)
def test_a_target_is_parsed_and_printed(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert str(target) == text


def test_every_target_and_device_parses() -> None:
    assert set(DEVICES) == set(all_targets())
    for name in all_targets():
        for device in DEVICES[name]:
            target = Target.parse(f"{name}:{device}")
            assert (target.head, target.device, target.devices) == (name, device, (device,))


def test_devices_of_a_target() -> None:
    assert Target.parse("rtx-int8:sm86+sm89").devices == ("sm86", "sm89")
    assert Target.parse("rtx-int8").devices == ()


@pytest.mark.parametrize("text", ["", "ort", "ort-", "-int8", "ort-int4", "int8", "ORT-int8"])
def test_an_unknown_target_lists_the_valid_ones(text: str) -> None:
    with pytest.raises(TargetError, match="valid are ort-fp32, ort-fp16, ort-int8, trt-fp32"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["ort-int8:", "ort-int8:cuda", "ort-int8:x86-vnni:x"])
def test_an_unknown_device_lists_the_valid_ones(text: str) -> None:
    with pytest.raises(TargetError, match=r"ort-int8 has x86-vnni, .*arm64, tensorrt$"):
        Target.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trt-int8:sm86", "trt-int8 takes none: it is made where it runs"),
        ("rtx-fp8:sm86", "rtx-fp8 has sm89, sm120, sm121$"),
        ("rtx-int8:sm90", "TensorRT-RTX has no sm90: use trt-int8$"),
        ("ort-fp32:x86-vnni", "ort-fp32 has cuda, tensorrt"),
        ("ort-fp16:cuda+tensorrt", "name one device; only rtx targets take several"),
        ("rtx-int8:sm86+sm86", "names a device twice"),
        ("rtx-int8:sm86+", "unknown device ''"),
    ],
)
def test_devices_that_a_target_does_not_take(text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Target.parse(text)


def test_targets_are_values() -> None:
    assert len({Target.parse("ort-int8"), Target.parse("ort-int8")}) == 1
