"""Quantisation schemes for ONNX Runtime's CPU kernels, one per class of processor.

The choice follows from MLAS: on x86-64 the fast integer product multiplies uint8 activations by
int8 weights. With VNNI it accumulates exactly in 32 bits; without, ``vpmaddubsw`` adds pairs of
products in saturating 16 bits, so weights keep to 7 bits there (2 * 255 * 64 < 2^15). On ARM
the dot-product kernels take signed activations and signed weights.
"""

from __future__ import annotations

import dataclasses

from bmopt.core.host import Host
from bmopt.core.scheme import Encoding, FloatRules, Scheme
from bmopt.errors import TargetError

_WEIGHT_8BIT = Encoding("int8", symmetric=True, low=-127, high=127, per_channel=True)
_WEIGHT_7BIT = Encoding("int8", symmetric=True, low=-64, high=63, per_channel=True)
_UNSIGNED = Encoding("uint8", symmetric=False, low=0, high=255)
_SIGNED = Encoding("int8", symmetric=False, low=-128, high=127)

_RULES = FloatRules(narrow_input=4, narrow_depthwise=16, small_product=1 << 16)

_BASE = Scheme(
    name="x86-vnni",
    why="uint8 activations and per-channel int8 weights: exact and fastest with VNNI",
    activation=_UNSIGNED,
    weight=_WEIGHT_8BIT,
    products=frozenset({"Conv", "Gemm", "MatMul"}),
    followers=frozenset(
        {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid"}
    ),
    movers=frozenset(
        {"MaxPool", "Reshape", "Flatten", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Pad"}
    ),
    output_optional=frozenset({"Gemm", "MatMul"}),
    rules=_RULES,
    prepare="pool-means",
)

_NO_VNNI = "uint8 activations and 7-bit int8 weights: without VNNI 16-bit sums would saturate"
_ARM = "int8 activations and per-channel int8 weights, as the ARM kernels want them"

SCHEMES: dict[str, Scheme] = {
    "x86-vnni": _BASE,
    "x86-avx512": dataclasses.replace(_BASE, name="x86-avx512", why=_NO_VNNI, weight=_WEIGHT_7BIT),
    "x86-avx2": dataclasses.replace(_BASE, name="x86-avx2", why=_NO_VNNI, weight=_WEIGHT_7BIT),
    "arm64-dotprod": dataclasses.replace(
        _BASE, name="arm64-dotprod", why=_ARM, activation=_SIGNED
    ),
    "arm64": dataclasses.replace(_BASE, name="arm64", why=_ARM, activation=_SIGNED),
}


def device_of(host: Host) -> str:
    """Return the class of processor that ``host`` belongs to.

    Raises:
        TargetError: It is neither x86-64 nor 64-bit ARM.
    """
    flags = set(host.flags)
    if host.architecture == "x86_64":
        if {"avx512_vnni", "avx_vnni"} & flags:
            return "x86-vnni"
        return "x86-avx512" if "avx512f" in flags else "x86-avx2"
    if host.architecture == "aarch64":
        return "arm64-dotprod" if "asimddp" in flags else "arm64"
    raise TargetError(
        f"no INT8 scheme for {host.architecture!r}; name the device, e.g. ort-int8:arm64-dotprod"
    )


def runs_on(device: str, host: Host) -> str:
    """Return why an artifact for ``device`` is not right for ``host``; empty where it is."""
    try:
        own = device_of(host)
    except TargetError:
        return f"made for {device}, this host is {host.architecture}"
    if device == own or (device in ("x86-avx2", "x86-avx512") and own.startswith("x86")):
        return ""
    if device == "arm64" and own == "arm64-dotprod":
        return ""
    return f"made for {device}, this host is {own}"
