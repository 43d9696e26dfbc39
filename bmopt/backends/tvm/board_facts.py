"""What a board tells of its processor, through what any server of TVM's answers.

Servers send files. Those of /proc have no size and come empty, those of sysfs come whole with
zeros behind: the kernel's alias of the processor, by which udev finds modules for it, has the
architecture and every feature by its number.
"""

from __future__ import annotations

from bmopt.backends.tvm.importing import Native
from bmopt.core.board import BoardFacts

_CPUS = "/sys/devices/system/cpu/online"
_ALIAS = "/sys/devices/system/cpu/modalias"

# Of Linux: arch/x86/include/asm/cpufeatures.h, in words of 32 bits, and
# arch/arm64/include/uapi/asm/hwcap.h.
_FEATURES = {
    "x86_64": {
        "sse4_1": 4 * 32 + 19,
        "avx2": 9 * 32 + 5,
        "avx512f": 9 * 32 + 16,
        "avx512bw": 9 * 32 + 30,
        "avx_vnni": 12 * 32 + 4,
        "avx512_vnni": 16 * 32 + 11,
        "amx_int8": 18 * 32 + 25,
    },
    "aarch64": {"asimd": 1, "asimddp": 20, "sve": 22},
}
_KERNEL_NAMES = {"x86": "x86_64"}
_LLVM_NAMES = {"arm64": "aarch64"}


def facts_of(session: Native) -> BoardFacts:
    """Ask a board what it is; a board with the runtime alone tells less."""
    architecture, lacking = _alias(_file(session, _ALIAS))
    return BoardFacts(
        architecture=architecture or _architecture(_told(session, "llvm_get_system_triple")),
        cpu=_told(session, "llvm_get_system_cpu"),
        cores=_count(_file(session, _CPUS)),
        threads=int(session.get_function("runtime.NumThreads")()),
        lacking=lacking,
    )


def _told(session: Native, name: str) -> str:
    """Return what a function of the compiler's says there; empty where there is no compiler."""
    try:
        return str(session.get_function(f"target.{name}")())
    except (AttributeError, RuntimeError):
        return ""


def _file(session: Native, path: str) -> str:
    try:
        return bytes(session.download(path)).partition(b"\0")[0].decode("ascii").strip()
    except (RuntimeError, ValueError):
        return ""


def _architecture(triple: str) -> str:
    name = triple.partition("-")[0]
    return _LLVM_NAMES.get(name, name)


def _alias(text: str) -> tuple[str, frozenset[str]]:
    """Return architecture and lacking flags of ``cpu:type:x86,ven...:feature:,0000,0001,...``."""
    head, found, numbers = text.partition(":feature:")
    kind = head.removeprefix("cpu:type:").partition(",")[0]
    architecture = _KERNEL_NAMES.get(kind, kind)
    there = {int(number, 16) for number in numbers.split(",") if number}
    names = _FEATURES.get(architecture, {}) if found else {}
    return architecture, frozenset(name for name, bit in names.items() if bit not in there)


def _count(ranges: str) -> int:
    """Return how many CPUs ``0-3,6`` are."""
    try:
        ends = [part.partition("-") for part in ranges.split(",") if part]
        return sum(int(last or first) - int(first) + 1 for first, _, last in ends)
    except ValueError:
        return 0
