"""What the kernels ask of a CPU: lanes, registers, threads."""

from __future__ import annotations

import dataclasses

import tvm

from bmopt.backends.tvm.lowering.stmts import Native

_WORTH_SHARING = 15_000
_LEAST_LANES = 4
_FEW_REGISTERS = 16
_MANY_REGISTERS = 32
_NEON_REGISTERS = 24
"""Of 32: LLVM keeps inputs of several steps in registers; what finds no room goes to memory."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A CPU.

    Attributes:
        lanes: Floats in a vector register.
        registers: Vector registers that a kernel may fill.
        threads: Threads that run a model.
    """

    lanes: int
    registers: int
    threads: int

    def shares(self, cycles: float) -> bool:
        """Return whether a loop of so many cycles is to be shared between threads.

        Waking them, and waiting for the last of them, costs a microsecond or two on a CPU that
        has nothing else to do. On a busy one, a thread that waits for its turn holds up all
        others, for milliseconds: TVM gives each thread its part beforehand, and nobody takes it
        over. There a model is to run on one thread, which no loop is shared with.
        """
        return self.threads > 1 and cycles >= _WORTH_SHARING

    def block(self, channels: int) -> int:
        """Return how many channels of a tensor lie side by side.

        A tensor with fewer channels than lanes has as many as the next power of two.
        """
        if channels >= self.lanes:
            return self.lanes
        return 1 << (channels - 1).bit_length()


def machine_of(target: Native, threads: int) -> Machine:
    """Return the CPU that a target of TVM describes."""
    llvm = tvm.target.codegen
    if target.kind.name != "llvm":
        return Machine(_LEAST_LANES, _FEW_REGISTERS, threads)
    # TVM's own width of a vector is the host's on every x86.
    if llvm.target_has_features("avx512f", target):
        return Machine(4 * _LEAST_LANES, _MANY_REGISTERS, threads)
    if llvm.target_has_features("avx", target):
        return Machine(2 * _LEAST_LANES, _FEW_REGISTERS, threads)
    triple = str(target.attrs.get("mtriple", "")) or llvm.llvm_get_system_triple()
    if triple.startswith(("aarch64", "arm64")):
        return Machine(_LEAST_LANES, _NEON_REGISTERS, threads)
    many = triple.startswith("riscv64")
    return Machine(_LEAST_LANES, _MANY_REGISTERS if many else _FEW_REGISTERS, threads)
