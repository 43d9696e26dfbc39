"""What a CPU offers to integer kernels: the dot product, its width, and how values are stored."""

from __future__ import annotations

import dataclasses
from typing import Literal

import tvm
from tvm import tirx

from bmopt.backends.tvm.integers.native import Expr

Dot = Literal["vpdpbusd", "sdot", "vpmaddwd", "plain"]

BLOCK = 16
"""Output channels that a kernel computes at a time; stored channels are a multiple of it."""

_SHARED_FROM = 250_000
"""Vector instructions from which work is spread over cores."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """The instructions that integer kernels are written with.

    Attributes:
        dot: The instruction that adds products to a 32-bit lane: of four bytes, or of two values
            of 16 bits with ``vpmaddwd``; ``plain`` where there is none.
        lanes: 32-bit lanes of a vector.
        accumulators: Vector registers that a kernel may keep sums in.
        stored: Element type of quantised activations between kernels.
    """

    dot: Dot
    lanes: int
    accumulators: int
    stored: Literal["uint8", "int8"]

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
        wide = f"int32x{self.lanes}"
        if self.dot == "plain":
            return total + spread * tirx.Cast(wide, weights)
        if self.dot == "vpmaddwd":
            halves = f"int16x{self.lanes * 2}"
            pair, factors = tirx.reinterpret(halves, spread), tirx.Cast(halves, weights)
            return total + tirx.call_llvm_pure_intrin(wide, self._intrinsic(), pair, factors)
        bytes_ = tirx.reinterpret(f"int8x{self.lanes * 4}", spread)
        return tirx.call_llvm_pure_intrin(wide, self._intrinsic(), total, bytes_, weights)

    def _as_lane(self, values: Expr) -> Expr:
        """Return the int32 that a lane's instruction reads its activations from."""
        if self.group == 1:
            return tirx.Cast("int32", values)
        return tirx.reinterpret(
            "int32", values if self.group == 4 else tirx.Cast("int16x2", values)
        )

    def _intrinsic(self) -> str:
        if self.dot == "vpmaddwd":
            return "llvm.x86.avx2.pmadd.wd" if self.lanes == 8 else "llvm.x86.avx512.pmaddw.d.512"
        if self.dot == "sdot":
            return "llvm.aarch64.neon.sdot.v4i32.v16i8"
        return f"llvm.x86.avx512.vpdpbusd.{self.lanes * 32}"


def machine_for(target: tvm.target.Target) -> Machine:
    """Return what ``target`` (kind ``llvm``) offers."""
    if _has(target, "avx512vnni"):
        return Machine("vpdpbusd", lanes=16, accumulators=28, stored="uint8")
    if _has(target, "avxvnni"):
        return Machine("vpdpbusd", lanes=8, accumulators=12, stored="uint8")
    if _has(target, "dotprod"):
        return Machine("sdot", lanes=4, accumulators=24, stored="int8")
    if _has(target, "avx512bw"):
        return Machine("vpmaddwd", lanes=16, accumulators=28, stored="uint8")
    if _has(target, "avx2"):
        return Machine("vpmaddwd", lanes=8, accumulators=12, stored="uint8")
    return Machine(
        "plain", lanes=4, accumulators=16 if _has(target, "neon") else 8, stored="uint8"
    )


def _has(target: tvm.target.Target, feature: str) -> bool:
    return bool(tvm.target.codegen.target_has_features(feature, target))
