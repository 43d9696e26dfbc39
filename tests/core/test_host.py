from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bmopt.core import cuda_driver
from bmopt.core.cpuinfo import ISA_FLAGS
from bmopt.core.cuda_driver import CudaGpu
from bmopt.core.host import (
    Gpu,
    architecture,
    cpu_flags,
    current_mhz,
    host_facts,
    versions,
)
from tests.core.host_trees import (
    AMD_AVX2,
    CORTEX_A53,
    CORTEX_A76,
    INTEL_VNNI,
    cpuinfo,
    intel_tree,
    write_tree,
)


def no_gpus() -> str:
    return ""


def test_intel_with_vnni(tmp_path: Path) -> None:
    host = host_facts(intel_tree(tmp_path), machine="x86_64", query_gpus=no_gpus)
    assert host.vendor == "GenuineIntel"
    assert host.model == "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
    assert host.architecture == "x86_64"
    assert host.flags == ("sse4_1", "avx2", "avx512f", "avx512bw", "avx512_vnni")
    assert (host.physical_cores, host.logical_cores, host.affinity) == (2, 4, 3)
    assert host.cpu_quota == 1.5
    assert host.governor == "powersave"
    assert (host.frequency_mhz, host.max_frequency_mhz) == (1200.0, 3200.0)
    assert host.memory_bytes == 16 << 20
    assert host.os == "Some Linux 1"
    assert host.gpus == ()


def test_avx2_only(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(*[AMD_AVX2] * 2)})
    assert cpu_flags(root) == {"sse4_1", "avx2"}
    host = host_facts(root, machine="AMD64", query_gpus=no_gpus)
    assert (host.vendor, host.architecture) == ("AuthenticAMD", "x86_64")
    assert host.logical_cores == 2
    assert host.governor == "unknown"
    assert (host.frequency_mhz, host.memory_bytes, host.affinity) == (None, None, None)
    assert (host.physical_cores, host.cpu_quota) == (None, None)


def test_cortex_a76(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(*[CORTEX_A76] * 4)})
    host = host_facts(root, machine="arm64", query_gpus=no_gpus)
    assert (host.vendor, host.model) == ("ARM", "Cortex-A76")
    assert host.architecture == "aarch64"
    assert host.flags == ("asimd", "asimddp")
    assert host.logical_cores == 4


def test_flags_of_a_mixed_design_are_those_of_every_core(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(CORTEX_A53, CORTEX_A76)})
    assert cpu_flags(root) == {"asimd"}
    assert host_facts(root, query_gpus=no_gpus).model == "Cortex-A53 + Cortex-A76"


def test_unknown_arm_core_keeps_its_numbers(tmp_path: Path) -> None:
    text = CORTEX_A76.replace("0xd0b", "0xfff").replace("0x41", "0x99")
    host = host_facts(write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(text)}), query_gpus=no_gpus)
    assert (host.vendor, host.model) == ("0x99", "part 0xfff")


def test_elsewhere_most_is_unknown(tmp_path: Path) -> None:
    host = host_facts(tmp_path, query_gpus=no_gpus)
    assert (host.vendor, host.model, host.flags) == ("unknown", "unknown", ())
    assert host.logical_cores is None
    assert cpu_flags(tmp_path) == frozenset()


@pytest.mark.parametrize("text", ["max 100000", "", "100000", "100000 0", "x y"])
def test_no_quota(tmp_path: Path, text: str) -> None:
    root = write_tree(tmp_path, {"sys/fs/cgroup/cpu.max": text})
    assert host_facts(root, query_gpus=no_gpus).cpu_quota is None


def test_frequency_falls_back_to_cpuinfo(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/cpuinfo": cpuinfo(INTEL_VNNI)})
    assert current_mhz(root) == 2000.125


def test_gpu_table(tmp_path: Path) -> None:
    table = "NVIDIA A2, 550.54.14, 15356, 8.6\nOrin, 540.3, [N/A], 8.7\nbroken line\n"
    assert host_facts(tmp_path, query_gpus=lambda: table).gpus == (
        Gpu("NVIDIA A2", "550.54.14", 15356 << 20, "8.6"),
        Gpu("Orin", "540.3", None, "8.7"),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")],
)
def test_architecture(name: str, expected: str) -> None:
    assert architecture(name) == expected


def test_this_host_has_the_essentials() -> None:
    host = host_facts(query_gpus=no_gpus)
    assert host.logical_cores is not None
    assert host.logical_cores >= 1
    assert set(host.flags) == cpu_flags() <= set(ISA_FLAGS)
    assert host.python == ".".join(map(str, sys.version_info[:3]))


def test_nvidia_smi_that_fails_or_prints_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cuda_driver, "cuda_gpus", lambda: None)
    assert host_facts(tmp_path).gpus == ()
    program.write_text('#!/bin/sh\necho "T4, 535, 15360, 7.5"\n', encoding="utf-8")
    program.chmod(0o755)
    assert host_facts(tmp_path).gpus == (Gpu("T4", "535", 15360 << 20, "7.5"),)
    program.write_text('#!/bin/sh\necho "T4, 535, 15360, 7.5"\nexit 9\n', encoding="utf-8")
    assert host_facts(tmp_path).gpus == ()


@pytest.mark.parametrize("table", ["", "Orin (nvgpu), 540.4.0, [N/A], [N/A]"])
def test_cuda_s_driver_tells_what_nvidia_smi_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    if table:
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "{table}"\n', encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    orin = CudaGpu("Orin", "8.7", 64 << 30, "12.6")
    monkeypatch.setattr(cuda_driver, "cuda_gpus", lambda: (orin,))
    assert host_facts(tmp_path).gpus == (Gpu("Orin", "CUDA 12.6", 64 << 30, "8.7"),)
    monkeypatch.setattr(cuda_driver, "cuda_gpus", lambda: None)
    told = host_facts(tmp_path).gpus
    assert told == ((Gpu("Orin (nvgpu)", "540.4.0", None, ""),) if table else ())


def test_versions_without_importing_the_packages() -> None:
    found = versions()
    assert list(found)[:5] == ["numpy", "onnx", "onnx_ir", "onnxruntime", "onnxsim"]
    assert found["numpy"] == metadata.version("numpy")
    code = (
        "import sys; from bmopt.core.host import *; versions(); "
        "print([m for m in ('numpy', 'onnx', 'onnx_ir', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_engines_for_gpus_are_named_where_they_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {"onnxruntime-gpu": "1.31.1", "tensorrt_rtx": "1.7"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    base = dict.fromkeys(["numpy", "onnx", "onnx_ir", "onnxruntime", "onnxsim"], "not installed")
    assert versions() == base | installed
