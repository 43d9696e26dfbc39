from __future__ import annotations

import pytest

from bmopt.backends.nvinfer.schemes import RTX_SCHEMES, SCHEMES, scheme_for
from bmopt.core.scheme import Scheme
from bmopt.core.target import QUANTIZED

ALL = [*SCHEMES.values(), *RTX_SCHEMES.values()]


def test_there_is_a_scheme_for_every_quantised_precision() -> None:
    assert set(SCHEMES) == set(RTX_SCHEMES) == set(QUANTIZED)
    names = {f"{e}-{p}": scheme_for(e, p) for e in ("trt", "rtx") for p in QUANTIZED}
    assert all(found.name == name and found.why for name, found in names.items())


@pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
def test_they_are_what_the_parser_accepts(scheme: Scheme) -> None:
    """It refuses zero points other than 0, scales per channel of an activation, int32 biases."""
    assert scheme.activation.symmetric
    assert scheme.weight.symmetric
    assert not scheme.activation.per_channel
    assert (scheme.side, scheme.quantize_bias) == ("inputs", False)
    assert scheme.activation.dtype == scheme.weight.dtype != "uint8"


def test_float8_needs_the_opset_that_brought_it() -> None:
    opsets = {scheme.weight.dtype: scheme.min_opset for scheme in ALL}
    assert opsets == {"int8": 13, "float8e4m3fn": 19}


def test_rtx_leaves_to_float_what_it_runs_in_float() -> None:
    assert "ConvTranspose" in SCHEMES["int8"].products
    assert not any("ConvTranspose" in scheme.products for scheme in RTX_SCHEMES.values())
    assert all(scheme.rules.narrow_depthwise > 4096 for scheme in RTX_SCHEMES.values())


def test_sm75_multiplies_matrices_alone() -> None:
    found = scheme_for("rtx", "int8", ("sm75", "sm86"))
    assert found.products == {"Gemm", "MatMul"}
    assert found.name not in {scheme.name for scheme in ALL}
    assert scheme_for("rtx", "int8", ("sm80", "sm86")) == RTX_SCHEMES["int8"]
