"""Text of the small models that the linter's rules are tested with.

Weights are drawn from seeded generators; every node is named after its first output.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from tests.rewriting import parse

CONV = "Conv<kernel_shape=[3,3], pads=[1,1,1,1]>"
PIXELS = "float[1,16,8,8]"


@dataclasses.dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        text: Its graph, or the whole model with a header.
        rules: Ids of the rules that it breaks.
        device: What the real engine is built for.
        renumbers: The engine runs it in 8 bits, but on other numbers than ONNX asks for.
    """

    text: str
    rules: tuple[str, ...] = ()
    device: str = "sm89"
    renumbers: bool = False

    def model(self) -> ir.Model:
        model = parse(self.text, opset=21)
        for node in model.graph.all_nodes():
            node.name = node.outputs[0].name
        return model


def numbers(kind: str, name: str, shape: Sequence[int], low: float, high: float) -> str:
    """Return an initialiser of seeded numbers from ``low`` to ``high``."""
    values = np.random.default_rng([*name.encode()]).uniform(low, high, math.prod(shape))
    if kind != "float":
        values = values.astype(np.int64)
    body = ", ".join(f"{v:.5f}" if kind == "float" else str(v) for v in values)
    sizes = f"[{', '.join(map(str, shape))}]" if shape else ""
    return f"{kind}{sizes} {name} = {{{body}}}"


def int8(name: str, *shape: int) -> str:
    return numbers("int8", name, shape, -127, 127)


def real(name: str, *shape: int) -> str:
    return numbers("float", name, shape, 0.01, 0.02)


def zeros(kind: str, name: str, count: int) -> str:
    return numbers(kind, name, (count,), 0, 0)


def conv(
    *,
    x: str = f"{PIXELS} x",
    y: str = f"{PIXELS} y",
    scale: str = "float xs = {0.02}",
    zero: str = "int8 z = {0}",
    pair: str = "xq = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(xq, xs, z)",
    weight: str = f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}",
    weight_dq: str = "wd = DequantizeLinear<axis=0>(w, ws)",
    node: str = f"y = {CONV}(xd, wd)",
) -> str:
    """Return a convolution with Q/DQ on its inputs; parts can be replaced."""
    inits = ", ".join(part for part in (scale, zero, weight) if part)
    return f"g ({x}) => ({y}) <{inits}> {{ {pair}  {weight_dq}  {node} }}"


def product(
    *,
    op: str = "MatMul",
    x: str = "float[4,32] x",
    y: str = "float[4,24] y",
    scale: str = "float xs = {0.02}",
    pair: str = "xq = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(xq, xs, z)",
    weight: str = f"{int8('w', 32, 24)}, {real('ws', 24)}",
    weight_dq: str = "wd = DequantizeLinear<axis=1>(w, ws)",
    rest: str = "",
) -> str:
    """Return a matrix product with Q/DQ on its inputs; parts can be replaced."""
    inits = ", ".join(part for part in (scale, "int8 z = {0}", weight) if part)
    return f"g ({x}) => ({y}) <{inits}> {{ {pair}  {weight_dq}  {rest} y = {op}(xd, wd) }}"


def pixels(before: str, *, extra: str = "") -> str:
    """Return a pointwise convolution that reads ``m``, made from the dequantised ``xd``."""
    weight = f"{int8('w', 16, 16, 1, 1)}, float ws = {{0.02}}{extra}"
    return conv(
        weight=weight,
        weight_dq="wd = DequantizeLinear(w, ws)",
        node=f"{before}  y = Conv<kernel_shape=[1,1]>(m, wd)",
        y="float[a,b,c,d] y",
    )


def float8(op: str, x: str, y: str, weight: str, per_channel: str = "") -> str:
    axis = f"axis={per_channel}, " if per_channel else ""
    scale = real("ws", 16) if per_channel else "float ws = {0.03}"
    return f"""g ({x} x) => ({y} y) <float xs = {{0.02}}, {weight}, {scale}> {{
      xq = QuantizeLinear<output_dtype=17>(x, xs)  xd = DequantizeLinear(xq, xs)
      wq = QuantizeLinear<{axis}output_dtype=17>(w, ws)
      wd = DequantizeLinear<{axis or "axis=1, "}block_size=0>(wq, ws)  y = {op}(xd, wd) }}"""


def blocked(code: int, *, x: str = "x", pair: str = "") -> str:
    """Return a product by a weight in blocks of 16, stored as ONNX type ``code``."""
    return f"""g (float[4,32] x) => (float[4,32] y)
      <float xs = {{0.02}}, int8 z = {{0}}, {real("w", 32, 32)}, {real("ws", 2, 32)}> {{ {pair}
      wq = QuantizeLinear<axis=0, block_size=16, output_dtype={code}>(w, ws)
      wd = DequantizeLinear<axis=0, block_size=16>(wq, ws)  y = MatMul({x}, wd) }}"""


def model(body: str, opsets: str) -> str:
    return f"<ir_version: 10, opset_import: [{opsets}]>\n{body}"
