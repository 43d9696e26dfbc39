from __future__ import annotations

import itertools

import pytest

from bmopt.backends.onnxruntime.backend import GPU_DEVICES
from bmopt.backends.onnxruntime.schemes import SCHEMES, device_of, runs_on
from bmopt.core.target import DEVICES
from bmopt.errors import TargetError
from tests.backends.fake_hosts import host


def test_every_device_has_a_scheme_of_its_name() -> None:
    processors = [device for device in DEVICES["ort-int8"] if device not in GPU_DEVICES]
    assert list(SCHEMES) == processors
    assert all(name == found.name and found.why for name, found in SCHEMES.items())


@pytest.mark.parametrize(
    ("architecture", "flags", "device"),
    [
        ("x86_64", ("sse4_1", "avx2", "avx512f", "avx512_vnni"), "x86-vnni"),
        ("x86_64", ("avx2", "avx_vnni"), "x86-vnni"),
        ("x86_64", ("avx2", "avx512f"), "x86-avx512"),
        ("x86_64", ("avx2",), "x86-avx2"),
        ("x86_64", (), "x86-avx2"),  # flags are not known on every system: the safe one
        ("aarch64", ("asimd", "asimddp"), "arm64-dotprod"),
        ("aarch64", ("asimd",), "arm64"),
    ],
)
def test_the_device_of_a_host(architecture: str, flags: tuple[str, ...], device: str) -> None:
    assert device_of(host(architecture, *flags)) == device


def test_another_architecture_has_no_scheme() -> None:
    with pytest.raises(TargetError, match="no INT8 scheme for 'riscv64'; name the device"):
        device_of(host("riscv64"))


def test_x86_activations_are_unsigned_and_arm_ones_signed() -> None:
    signs = {name: found.activation.dtype for name, found in SCHEMES.items()}
    assert signs == {
        **dict.fromkeys(["x86-vnni", "x86-avx512", "x86-avx2"], "uint8"),
        **dict.fromkeys(["arm64-dotprod", "arm64"], "int8"),
    }


def test_without_vnni_a_pair_of_products_fits_16_bits() -> None:
    for name in ("x86-avx512", "x86-avx2"):
        weight, activation = SCHEMES[name].weight, SCHEMES[name].activation
        worst = max(
            abs(activation.high * (a + b))
            for a, b in itertools.product((weight.low, weight.high), repeat=2)
        )
        assert worst < 1 << 15
    assert 2 * 255 * SCHEMES["x86-vnni"].weight.high > 1 << 15


@pytest.mark.parametrize(
    ("device", "architecture", "flags", "reason"),
    [
        ("x86-vnni", "x86_64", ("avx512_vnni",), ""),
        ("x86-avx2", "x86_64", ("avx512_vnni",), ""),
        ("x86-avx512", "x86_64", ("avx2",), ""),
        ("x86-vnni", "x86_64", ("avx2",), "made for x86-vnni, this host is x86-avx2"),
        ("arm64", "aarch64", ("asimddp",), ""),
        ("arm64-dotprod", "aarch64", (), "made for arm64-dotprod, this host is arm64"),
        ("arm64", "x86_64", ("avx2",), "made for arm64, this host is x86-avx2"),
        ("x86-avx2", "aarch64", (), "made for x86-avx2, this host is arm64"),
        ("arm64", "riscv64", (), "made for arm64, this host is riscv64"),
    ],
)
def test_where_an_artifact_runs(
    device: str, architecture: str, flags: tuple[str, ...], reason: str
) -> None:
    assert runs_on(device, host(architecture, *flags)) == reason
