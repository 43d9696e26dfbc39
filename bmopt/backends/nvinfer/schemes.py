"""How TensorRT and TensorRT-RTX want their 8-bit values.

Both read explicit Q/DQ pairs and take scales as they stand: symmetric, zero point 0, one scale
per activation. They fuse bias, activation and residual Add into the product, so pairs stand only
before what an 8-bit kernel reads, and biases stay in float (an int32 bias behind a DQ is refused).

What TensorRT-RTX 1.7 makes of such graphs was read off the kernels of engines that it built:

- a Q moves up across Concat, MaxPool, nearest Resize and layout changes into the kernel that
  writes the tensor, but not across AveragePool; with one scale on all sides it is stored once;
- ConvTranspose runs in float whatever surrounds it;
- for sm75, or for several devices with sm75 among them, so does Conv;
- a depthwise convolution gets its channels padded to four a group, so its 8-bit data is as big as
  float32;
- float8 runs with a scale per channel and with one per tensor, but with the former a convolution
  writes float32 even where the rest is float16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bmopt.core.scheme import Encoding, FloatRules, Scheme

_ANY_DEPTHWISE = 1 << 16

_INT8 = Scheme(
    name="trt-int8",
    why="symmetric int8 before every input of an integer kernel, per-channel int8 weights",
    activation=Encoding("int8", symmetric=True, low=-128, high=127),
    weight=Encoding("int8", symmetric=True, low=-127, high=127, per_channel=True),
    products=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}),
    followers=frozenset({"Add", "Concat"}),
    movers=frozenset(
        {
            "DepthToSpace",
            "Flatten",
            "MaxPool",
            "Reshape",
            "Resize",
            "SpaceToDepth",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        }
    ),
    output_optional=frozenset(),
    rules=FloatRules(narrow_channels=8, narrow_matrix=16, vectors=1, small_product=1 << 12),
    min_opset=13,
    side="inputs",
    quantize_bias=False,
)

_FP8_TYPE = Encoding("float8e4m3fn", symmetric=True, low=-448, high=448)

_FP8 = dataclasses.replace(
    _INT8,
    name="trt-fp8",
    why="float8 E4M3 before every input of a float8 kernel, one scale per weight",
    activation=_FP8_TYPE,
    weight=_FP8_TYPE,
    products=frozenset({"Conv", "Gemm", "MatMul"}),
    rules=dataclasses.replace(_INT8.rules, narrow_channels=16, narrow_depthwise=_ANY_DEPTHWISE),
    min_opset=19,
)

SCHEMES: dict[str, Scheme] = {"int8": _INT8, "fp8": _FP8}
"""Precision -> TensorRT's scheme."""

RTX_SCHEMES: dict[str, Scheme] = {
    precision: dataclasses.replace(
        scheme,
        name=f"rtx-{precision}",
        products=scheme.products - {"ConvTranspose"},
        rules=dataclasses.replace(scheme.rules, narrow_depthwise=_ANY_DEPTHWISE),
    )
    for precision, scheme in SCHEMES.items()
}
"""Precision -> TensorRT-RTX's scheme."""


def scheme_for(engine: str, precision: str, devices: Sequence[str] = ()) -> Scheme:
    """Return the scheme of ``trt`` or ``rtx`` for ``int8`` or ``fp8``.

    ``devices`` are those an engine of ``rtx`` is for; it has one program for all of them.
    """
    if engine != "rtx":
        return SCHEMES[precision]
    scheme = RTX_SCHEMES[precision]
    if "sm75" not in devices:
        return scheme
    why = f"{scheme.why}; convolutions in float, as sm75 has no other kernels"
    products = scheme.products - {"Conv"}
    return dataclasses.replace(scheme, name=f"{scheme.name}:sm75", why=why, products=products)
