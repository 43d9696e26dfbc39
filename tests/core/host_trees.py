"""Folders that look like /proc and /sys of other machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

INTEL_VNNI = """\
processor\t: {cpu}
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
cpu MHz\t\t: 2000.125
flags\t\t: fpu sse4_1 sse4_2 avx avx2 fma avx512f avx512bw avx512_vnni
"""
AMD_AVX2 = """\
processor\t: {cpu}
vendor_id\t: AuthenticAMD
model name\t: AMD Ryzen 7 3700X 8-Core Processor
flags\t\t: fpu sse4_1 avx avx2 fma
"""
CORTEX_A76 = """\
processor\t: {cpu}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
CORTEX_A53 = """\
processor\t: {cpu}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd03
"""


def cpuinfo(*cpus: str) -> str:
    return "\n".join(text.format(cpu=i) for i, text in enumerate(cpus)) + "\nModel\t\t: Board\n"


def write_tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def intel_tree(root: Path) -> Path:
    """Two cores with two threads each, in a container that may use 1.5 CPUs."""
    cpu = "sys/devices/system/cpu"
    siblings = {
        f"{cpu}/cpu{i}/topology/thread_siblings_list": f"{i % 2},{i % 2 + 2}\n" for i in range(4)
    }
    return write_tree(
        root,
        {
            **siblings,
            "proc/cpuinfo": cpuinfo(*[INTEL_VNNI] * 4),
            "proc/meminfo": "MemTotal:       16384 kB\nMemFree:  1 kB\n",
            "proc/self/status": "Name:\tx\nCpus_allowed_list:\t0-1,3\n",
            "proc/loadavg": "0.75 0.5 0.25 1/100 4242\n",
            "proc/stat": "cpu  10 20 30 400 0 5 5 30 7 7\ncpu0 1 2 3 4 5 6 7 8 9 9\n",
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "1200000\n",
            f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": "3200000\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "etc/os-release": 'ID=x\nPRETTY_NAME="Some Linux 1"\n',
        },
    )
