"""What a CPU offers to integer kernels: the dot product, its width, and how values are stored."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tvm
from tvm import tirx

from bmopt.backends.tvm.integers.native import Expr

Dot = Literal["vpdpbusd", "sdot", "vpmaddubsw", "vpmaddwd", "plain"]

BLOCK = 16
"""Output channels that a kernel computes at a time; stored channels are a multiple of it."""

_SHARED_FROM = 25_000
"""Vector instructions from which work is spread over cores."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """The instructions that integer kernels are written with.

    Attributes:
        dot: The instruction that adds products to a 32-bit lane: of four bytes, or of two values
            of 16 bits with ``vpmaddwd``; ``plain`` where there is none. ``vpmaddubsw`` adds two
            of the four products in 16 bits, which saturate, so it is for narrow weights.
        lanes: 32-bit lanes of a vector.
        accumulators: Vector registers that a kernel may keep sums in.
        stored: Element type of quantised activations between kernels.
        has_fma: Whether a product and a sum are one instruction that rounds once.
    """

    dot: Dot
    lanes: int
    accumulators: int
    stored: Literal["uint8", "int8"]
    has_fma: bool = False

    @property
    def group(self) -> int:
        """Input channels that one instruction multiplies and adds."""
        return {"plain": 1, "vpmaddwd": 2}.get(self.dot, 4)

    @property
    def vectors(self) -> int:
        """Vectors that make a block of channels."""
        return BLOCK // self.lanes

    @property
    def shift(self) -> int:
        """What is added to a uint8 value for it to become a stored value."""
        return 0 if self.stored == "uint8" else -128

    def for_weights(self, *, are_narrow: bool) -> Machine:
        """Return the machine with a dot product that is exact.

        ``are_narrow`` says whether two products of any activations fit 16 bits.
        """
        if self.dot != "vpmaddubsw" or are_narrow:
            return self
        return dataclasses.replace(self, dot="vpmaddwd")

    def pays_to_share(self, products: int, *, is_dot: bool) -> bool:
        """Whether so many multiply-adds are work enough to wake other cores for.

        Where another process has a core, one that waits for its share waits for milliseconds.
        """
        at_once = self.lanes * (self.group if is_dot else 1)
        return products >= _SHARED_FROM * at_once

    def multiply_add(self, total: Expr, values: Expr, weights: Expr) -> Expr:
        """Return ``total`` (int32 lanes) plus the products of ``values`` and ``weights``.

        ``values`` is a vector of ``group`` stored activations, a scalar where that is 1;
        ``weights`` is one of ``lanes * group`` int8.
        """
        spread = tirx.Broadcast(self._as_lane(values), self.lanes)
        return self.dot_added(total, spread, weights)

    def dot_added(self, total: Expr, values: Expr, weights: Expr) -> Expr:
        """Return ``total`` plus the products of ``values``, each a lane of ``group`` of them.

        ``weights`` are as of ``multiply_add``.
        """
        wide = f"int32x{self.lanes}"
        if self.dot == "plain":
            return total + values * tirx.Cast(wide, weights)
        halves = f"int16x{self.lanes * 2}"
        if self.dot == "vpmaddwd":
            pairs, factors = tirx.reinterpret(halves, values), tirx.Cast(halves, weights)
            return total + self._pairs_added(pairs, factors)
        bytes_ = tirx.reinterpret(f"int8x{self.lanes * 4}", values)
        if self.dot == "vpmaddubsw":
            sums = tirx.call_llvm_pure_intrin(halves, self._intrinsic(), bytes_, weights)
            ones = tirx.Broadcast(tirx.const(1, "int16"), self.lanes * 2)
            return total + self._pairs_added(sums, ones)
        return tirx.call_llvm_pure_intrin(wide, self._intrinsic(), total, bytes_, weights)

    def _pairs_added(self, values: Expr, factors: Expr) -> Expr:
        """Return the products of values of 16 bits, every two of them added."""
        name = "llvm.x86.avx2.pmadd.wd" if self.lanes == 8 else "llvm.x86.avx512.pmaddw.d.512"
        return tirx.call_llvm_pure_intrin(f"int32x{self.lanes}", name, values, factors)

    def _as_lane(self, values: Expr) -> Expr:
        """Return the int32 that a lane's instruction reads its activations from."""
        if self.group == 1:
            return tirx.Cast("int32", values)
        return tirx.reinterpret(
            "int32", values if self.group == 4 else tirx.Cast("int16x2", values)
        )

    def _intrinsic(self) -> str:
        if self.dot == "vpmaddubsw":
            return (
                "llvm.x86.avx2.pmadd.ub.sw"
                if self.lanes == 8
                else ("llvm.x86.avx512.pmaddubs.w.512")
            )
        if self.dot == "sdot":
            return "llvm.aarch64.neon.sdot.v4i32.v16i8"
        return f"llvm.x86.avx512.vpdpbusd.{self.lanes * 32}"


_MACHINES = {
    "avx512vnni": Machine("vpdpbusd", lanes=16, accumulators=28, stored="uint8"),
    "avxvnni": Machine("vpdpbusd", lanes=8, accumulators=12, stored="uint8"),
    "dotprod": Machine("sdot", lanes=4, accumulators=24, stored="int8"),
    "avx512bw": Machine("vpmaddubsw", lanes=16, accumulators=26, stored="uint8"),
    "avx2": Machine("vpmaddubsw", lanes=8, accumulators=12, stored="uint8"),
    "neon": Machine("plain", lanes=4, accumulators=16, stored="uint8"),
}
"""Feature of a processor -> what it offers, the best first."""

_FUSED = ("fma", "vfp4", "v")
"""Features that bring a fused multiply-add, which 64-bit ARM always has."""


def machine_for(target: tvm.target.Target) -> Machine:
    """Return what ``target`` (kind ``llvm``) offers."""
    plain = Machine("plain", lanes=4, accumulators=8, stored="uint8")
    found = next((m for feature, m in _MACHINES.items() if _has(target, feature)), plain)
    is_arm64 = str(target.attrs.get("mtriple", "")).startswith(("aarch64", "arm64"))
    fuses = is_arm64 or any(_has(target, one) for one in _FUSED)
    return dataclasses.replace(found, has_fma=fuses)


def _has(target: tvm.target.Target, feature: str) -> bool:
    return bool(tvm.target.codegen.target_has_features(feature, target))
