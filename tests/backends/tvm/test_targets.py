from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from bmopt.backends.tvm import probe, targets
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.backends.tvm.targets import DEVICES, compiler_for, device_for, why_not_run
from bmopt.core.host import Host, host_facts
from bmopt.core.target import DEVICES as NAMED
from bmopt.core.target import Target
from bmopt.errors import TargetError
from tests.backends.tvm.installed import needs_tvm


def _host(architecture: str, *flags: str) -> Host:
    return dataclasses.replace(
        host_facts(query_gpus=str), architecture=architecture, flags=tuple(flags)
    )


def test_every_named_device_is_known() -> None:
    for head in ("tvm-fp32", "tvm-int8"):
        assert set(NAMED[head]) == {*DEVICES, targets.HOST, targets.CUDA}


@pytest.mark.parametrize("text", ["tvm-int8:cortex-a76", "tvm-fp32:raspberry-pi/4b-aarch64"])
def test_a_target_has_a_text(text: str) -> None:
    target = Target.parse(text)
    assert str(target) == text
    assert not target.on_gpu


@pytest.mark.parametrize("text", ["tvm-int8:cortex-m4", "tvm-fp32:cortex-a53+cortex-a72"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(TargetError, match="cortex"):
        Target.parse(text)


def test_fp16_is_no_precision() -> None:
    with pytest.raises(TargetError, match=r"valid are .*tvm-fp32, tvm-int8"):
        Target.parse("tvm-fp16")


def test_devices_differ_in_what_a_host_must_have() -> None:
    a76 = DEVICES["cortex-a76"]
    assert why_not_run("cortex-a76", a76, _host("aarch64", "asimd", "asimddp")) == ""
    assert why_not_run("cortex-a76", a76, _host("aarch64", "asimd")) == (
        "made for cortex-a76, this host has no asimddp"
    )
    assert why_not_run("cortex-a76", a76, _host("x86_64")) == (
        "made for cortex-a76 (aarch64), this host is x86_64"
    )


def test_a_dictionary_is_what_llvm_is_told() -> None:
    assert DEVICES["cortex-a76"].to_dict() == {
        "kind": "llvm",
        "mtriple": "aarch64-linux-gnu",
        "mcpu": "cortex-a76",
        "mattr": ["+neon", "+dotprod"],
        "num-cores": 4,
    }


def test_a_compiler_is_looked_for_by_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"aarch64-linux-gnu-g++", "clang++"}
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in there else None)
    a53, x86 = DEVICES["cortex-a53"], DEVICES["x86-avx2"]
    assert compiler_for(a53, _host("x86_64")) == "/bin/aarch64-linux-gnu-g++"
    assert compiler_for(a53, _host("aarch64")) == "/bin/clang++"
    assert compiler_for(x86, _host("x86_64")) == "/bin/clang++"
    assert compiler_for(x86, _host("aarch64")) == ""


def test_no_compiler_for_this_host_builds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "why_not", lambda found=None: "")
    monkeypatch.setattr(targets.shutil, "which", lambda name: None)
    monkeypatch.setattr(
        "bmopt.backends.tvm.backend._host", lambda: _host("x86_64", "avx2", "avx512_vnni")
    )
    own = TvmBackend().probe(Target.parse("tvm-fp32:x86-avx2"))
    assert (own.build, own.run) == (False, False)
    assert own.reason == "no x86_64-linux-gnu-g++ here links for x86-avx2"
    other = TvmBackend().probe(Target.parse("tvm-fp32:armv7-neon"))
    assert (other.build, other.run) == (True, False)
    assert "no arm-linux-gnueabihf-g++ here links for armv7-neon: objects are made" in other.reason


@pytest.mark.parametrize(
    ("device", "stored", "name"),
    [
        ("cortex-a53", "int8", "tvm-arm64"),
        ("cortex-a76", "int8", "tvm-arm64-dotprod"),
        ("x86-vnni", "uint8", "tvm-x86-vnni"),
        ("riscv64-rvv", "int8", "tvm-arm64"),
    ],
)
def test_integers_are_those_of_the_class_of_processor(device: str, stored: str, name: str) -> None:
    scheme = TvmBackend().scheme(Target("tvm", "int8", device))
    assert (scheme.activation.dtype, scheme.weight.dtype, scheme.name) == (stored, "int8", name)
    assert scheme.weight.per_channel


@needs_tvm
@pytest.mark.parametrize("name", list(DEVICES))
def test_tvm_takes_every_device(name: str) -> None:
    target = probe.load("tvm.target").Target(DEVICES[name].to_dict())
    assert target.kind.name == "llvm"
    assert int(target.attrs["num-cores"]) == DEVICES[name].cores


@needs_tvm
def test_tags_of_processors_are_devices() -> None:
    device = device_for("raspberry-pi/4b-aarch64", host_facts(query_gpus=str))
    assert (device.architecture, device.mcpu) == ("aarch64", "cortex-a72")
    assert device.scheme == "arm64"


@needs_tvm
def test_tags_of_gpus_and_unknown_ones_are_refused() -> None:
    backend = TvmBackend()
    with pytest.raises(TargetError, match="is a cuda target"):
        backend.resolve(Target.parse("tvm-fp32:nvidia/jetson-nano"))
    with pytest.raises(TargetError, match="TVM knows no target 'acme/board'"):
        backend.resolve(Target.parse("tvm-fp32:acme/board"))


@needs_tvm
def test_this_host_is_the_processor_that_llvm_finds() -> None:
    host = host_facts(query_gpus=str)
    device = device_for(targets.HOST, host)
    assert device.architecture == host.architecture
    assert device.flags == host.flags
    assert device.mcpu
    assert device.cores >= 1


A55 = '{"kind": "llvm", "mcpu": "cortex-a55", "mtriple": "aarch64-linux-gnu"}'


def test_a_dictionary_is_a_device(tmp_path: Path) -> None:
    file = tmp_path / "box.json"
    file.write_text('{"mtriple": "aarch64-linux-gnu",\n"kind": "llvm", "mcpu": "cortex-a55"}')
    target = Target.parse(f"tvm-int8:@{file}")
    assert target == Target.parse(f"tvm-int8:{A55}") == Target("tvm", "int8", A55)
    assert Target.parse(str(target)) == target
    assert target.devices == (A55,)
    assert target.file_name.startswith("tvm-int8-cortex-a55-")


def test_names_of_files_have_no_folders() -> None:
    assert Target.parse("tvm-fp32:raspberry-pi/4b-aarch64").file_name == (
        "tvm-fp32-raspberry-pi-4b-aarch64"
    )
    assert Target.parse("rtx-int8:sm86+sm89").file_name == "rtx-int8-sm86+sm89"


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("{nothing", "is no JSON"),
        ('{"mcpu": "cortex-a55"}', "is no dictionary of TVM's"),
        ("@/nowhere/box.json", "cannot read"),
    ],
)
def test_a_dictionary_that_is_none(device: str, said: str) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        Target.parse(f"tvm-fp32:{device}")
    assert "\n" not in str(caught.value)


def test_only_tvm_takes_dictionaries() -> None:
    with pytest.raises(TargetError, match="unknown device"):
        Target.parse('ort-int8:{"kind": "llvm"}')


@needs_tvm
def test_what_a_dictionary_needs() -> None:
    device = device_for(A55, host_facts(query_gpus=str))
    assert (device.architecture, device.mcpu) == ("aarch64", "cortex-a55")
    assert device.flags == ("asimddp",)
    assert device.scheme == "arm64-dotprod"
    lake = '{"kind": "llvm", "mcpu": "cascadelake", "mtriple": "x86_64-linux-gnu"}'
    assert "avx512_vnni" in device_for(lake, host_facts(query_gpus=str)).flags
    assert device_for(lake, host_facts(query_gpus=str)).scheme == "x86-vnni"
    reason = why_not_run(lake, device_for(lake, _host("x86_64")), _host("x86_64", "avx2"))
    assert reason == "made for cascadelake, this host has no avx512f, avx512bw, avx512_vnni"


@needs_tvm
@pytest.mark.parametrize(
    ("device", "said"),
    [
        ('{"kind": "llvm", "mcpu": "cortex-a54", "mtriple": "aarch64-linux-gnu"}', "did you mean"),
        ('{"kind": "llvm", "mtriple": "nonsense"}', "compiles for aarch64, armv7l"),
        ('{"kind": "nothing"}', "nothing"),
        ('{"kind": "llvm", "colour": "red"}', "Unknown config option 'colour'"),
        ('{"kind": "vulkan"}', "is a vulkan target"),
        ("cuda", "built without CUDA; use ort-fp32:cuda"),
    ],
)
def test_what_tvm_or_llvm_does_not_take(device: str, said: str) -> None:
    with pytest.raises(TargetError, match=said) as caught:
        device_for(device, host_facts(query_gpus=str))
    assert "\n" not in str(caught.value)
    assert TvmBackend().probe(Target("tvm", "fp32", device)).reason == str(caught.value)
