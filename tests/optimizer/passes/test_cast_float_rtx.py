"""What TensorRT-RTX makes of a converted Q/DQ graph; no GPU is needed to build."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.casting import converted, plan_for
from tests.optimizer.literals import weights
from tests.quantizing import as_bytes, named

rtx = pytest.importorskip("tensorrt_rtx")


class Log(rtx.ILogger):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        rtx.ILogger.__init__(self)
        self.text = ""

    def log(self, severity: Any, message: str) -> None:
        self.text += message + "\n"


def kernels(data: bytes) -> list[str]:
    """Build for sm86 and return the description of every kernel."""
    log = Log()
    builder = rtx.Builder(log)
    flag = 1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag)
    parser = rtx.OnnxParser(network, log)
    assert parser.parse(data), parser.get_error(0).desc()
    config = builder.create_builder_config()
    config.profiling_verbosity = rtx.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
    assert builder.build_serialized_network(network, config) is not None
    lines = log.text[log.text.rindex("Layers:") :].splitlines()
    return [line for line in lines if "LayerType:" in line]


def types(kernel: str, part: str) -> set[str]:
    """Return the types in one part of a kernel's description: Inputs, Constants or Outputs."""
    body = kernel.partition(f"{part}: [")[2].split("], Constants")[0].split("], Outputs")[0]
    return set(re.findall(r"Datatype: (\w+)", body))


def pair(x: str) -> str:
    return f"{x}q = QuantizeLinear({x}, s, z) {x}d = DequantizeLinear({x}q, s, z)"


MLP = f"""
g (float[64,256] x) => (float[64,256] y)
  <float s = {{0.02}}, int8 z = {{0}}, {weights("w", (256, 256))}, {weights("b", (256,))}> {{
  {pair("x")} {pair("w")}
  h = MatMul(xd, wd) a = Add(h, b) r = Sigmoid(a) {pair("r")}
  m = MatMul(rd, wd) y = Add(m, x)
}}
"""


def test_integer_products_write_half_precision() -> None:
    copy = converted(named(MLP), plan_for())
    products = [line for line in kernels(as_bytes(copy)) if "LayerType: gemm" in line]
    assert len(products) == 2
    for kernel in products:
        assert types(kernel, "Inputs") == {"Int8"}
        assert types(kernel, "Outputs") == {"Half"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_products(dtype: Any) -> None:
    model = named(
        f"g (float[64,256] x) => (float[64,256] y) <{weights('w', (256, 256))}> "
        "{ h = MatMul(x, w) r = Relu(h) y = MatMul(r, w) }"
    )
    copy = converted(model, plan_for(dtype=dtype))
    found = [line for line in kernels(as_bytes(copy)) if "LayerType: gemm" in line]
    assert found
    assert {t for line in found for t in types(line, "Inputs")} == {
        "Half" if dtype == "float16" else "BFloat16"
    }
