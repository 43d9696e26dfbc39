"""Quantisation schemes as data: how a target wants its 8-bit values. A backend supplies them."""

from __future__ import annotations

import dataclasses
from typing import Literal

StoredType = Literal["uint8", "int8", "float8e4m3fn"]
Side = Literal["outputs", "inputs"]


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a kind of tensor is stored in 8 bits.

    Attributes:
        dtype: Element type.
        symmetric: The zero point is the middle of the type (0 for int8, 128 for uint8).
        low: Smallest stored value used.
        high: Largest stored value used (448 for float8e4m3fn).
        per_channel: One scale per output channel instead of one per tensor.
    """

    dtype: StoredType
    symmetric: bool
    low: int
    high: int
    per_channel: bool = False


@dataclasses.dataclass(frozen=True)
class FloatRules:
    """Products that a target runs faster in float, by shape; 0 switches a rule off.

    Attributes:
        narrow_input: A convolution over at most this many input channels (not depthwise).
        narrow_depthwise: A depthwise convolution over fewer channels than this.
        small_product: A matrix product of fewer multiply-adds than this.
        prefix: This many products nearest to the model's inputs.
        narrow_channels: A convolution (not depthwise) whose input or output channels per group
            are fewer than this.
        narrow_matrix: A matrix product whose weight has a side shorter than this.
        vectors: 1 for matrix products of a single row or column.
    """

    narrow_input: int = 0
    narrow_depthwise: int = 0
    small_product: int = 0
    prefix: int = 0
    narrow_channels: int = 0
    narrow_matrix: int = 0
    vectors: int = 0


@dataclasses.dataclass(frozen=True)
class Scheme:
    """One target's way to quantise.

    Attributes:
        name: The device class, for example ``"x86-vnni"``.
        why: What the choice follows from, for the summary.
        activation: Encoding of activations.
        weight: Encoding of constant weights.
        products: Ops computed in integers from a constant weight.
        followers: Ops with an integer kernel that stay in integers when their inputs are.
        movers: Ops that only move values: they keep the encoding of their input.
        output_optional: Products whose integer kernel can write float, so that their output is
            quantised only where an integer op reads it.
        rules: Which products stay in float by their shape.
        prepare: Passes, as pipeline text, that give the target more to run in integers.
        min_opset: Lowest opset at which the scheme's Q/DQ nodes can be written.
        side: ``outputs``: a Q/DQ pair stands behind every integer node, so that integers flow
            from kernel to kernel. ``inputs``: pairs stand only before the inputs that an integer
            kernel reads, and the engine fuses what follows a product into it.
        quantize_bias: Biases become int32 behind a DQ; otherwise they stay in float.
    """

    name: str
    why: str
    activation: Encoding
    weight: Encoding
    products: frozenset[str]
    followers: frozenset[str]
    movers: frozenset[str]
    output_optional: frozenset[str]
    rules: FloatRules = FloatRules()
    prepare: str = ""
    min_opset: int = 13
    side: Side = "outputs"
    quantize_bias: bool = True
