from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from tests.backends.tvm.integers.evaluating import (
    BASELINE,
    host,
    images,
    imported,
    in_integers,
    kinds,
    needs_tvm,
    reference,
    runner,
)
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named, quantized, sqnr_db

pytestmark = needs_tvm

_FEEDS = {"x": images((7, 8, 10, 10), -2, 2)}
_ARM = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon", "+dotprod"]}
_VNNI = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "cascadelake"}
_AVX_VNNI = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "alderlake"}


def _net(device: str = "x86-vnni", **options: Any) -> ir.Model:
    return quantized(named(CONV_NET), device=device, **options)[0]


@pytest.mark.parametrize("device", ["x86-vnni", "arm64-dotprod"])
@pytest.mark.parametrize("target", [None, BASELINE], ids=["host", "baseline"])
def test_a_whole_net_is_computed_in_integers(device: str, target: Any) -> None:
    model = _net(device)
    (found,), (wanted,) = in_integers(model, _FEEDS, target), reference(model, _FEEDS)
    assert sqnr_db(wanted, found) > 30
    called = kinds(imported(model, target))
    assert set(called) == {
        "pack", "convolution", "maxpool", "depthwise", "binary", "meanpool", "unpack",
    }  # fmt: skip
    assert (called.count("pack"), called.count("unpack")) == (1, 1)


def test_every_batch_size_gets_the_same_answers() -> None:
    run = runner(_net())
    together = run(_FEEDS)[0]
    for index in range(3):
        alone = run({"x": _FEEDS["x"][index : index + 1]})[0]
        np.testing.assert_array_equal(alone[0], together[index])


def test_what_the_plan_left_in_float_is_float() -> None:
    model = _net(keep_float=["c2"])
    (found,), (wanted,) = in_integers(model, _FEEDS), reference(model, _FEEDS)
    assert sqnr_db(wanted, found) > 30
    called = kinds(imported(model))
    assert "relax.nn.conv2d" in called
    assert "depthwise" in called
    assert called.count("unpack") == 2


def test_a_model_without_q_dq_is_imported_as_it_is() -> None:
    called = kinds(imported(named(CONV_NET)))
    assert "relax.nn.conv2d" in called
    assert not {"pack", "convolution"} & set(called)


def test_branches_are_left_alone() -> None:
    model = named(f"""
        g (float[2,4] x, bool c) => (float[2,3] y) <{weights("w", (4, 3))}> {{
          m = MatMul(x, w)
          y = If(c) <
            then_branch = t () => (float[2,3] a) {{ a = Relu(m) }},
            else_branch = e () => (float[2,3] b) {{ b = Neg(m) }}>
        }}""")
    called = kinds(imported(model))
    assert "relax.matmul" in called


def test_given_model_is_not_changed_and_names_are_kept() -> None:
    model = _net()
    before = ir.to_proto(model).SerializeToString()
    module = imported(model)
    assert ir.to_proto(model).SerializeToString() == before
    assert [str(p.name) for p in module["main"].params] == ["x"]


def test_variables_name_the_nodes_they_compute() -> None:
    model = _net()
    names = [
        str(b.var.name) for block in imported(model)["main"].body.blocks for b in block.bindings
    ]
    nodes = list(model.graph)
    marks = re.findall(r"onnx_(\d+)_", " ".join(names))
    found = [nodes[int(mark)].name for mark in marks]
    assert {"c1", "m1", "c2", "c3", "a", "p", "y"} <= set(found)


@pytest.mark.parametrize(
    ("target", "device", "instruction"),
    [
        (_VNNI, "x86-vnni", "vpdpbusd"),
        (_AVX_VNNI, "x86-vnni", "vpdpbusd"),
        (_ARM, "arm64-dotprod", "sdot"),
        (_ARM, "x86-vnni", "sdot"),
    ],
)
def test_the_dot_product_of_the_target_is_used(
    target: dict[str, Any], device: str, instruction: str
) -> None:
    import tvm

    module = imported(_net(device), target)
    built = tvm.compile(module, tvm.target.Target(target))
    (library,) = (m for m in built.mod.imports if m.kind == "llvm")
    assert library.inspect_source("asm").count(instruction) > 20


def test_sums_stay_in_registers() -> None:
    """No stores between products, which there are when TVM takes the sums from a pool."""
    import tvm

    built = tvm.compile(imported(_net(), _VNNI), tvm.target.Target(_VNNI))
    (library,) = (m for m in built.mod.imports if m.kind == "llvm")
    lines = library.inspect_source("asm").splitlines()
    behind = [b for a, b in itertools.pairwise(lines) if "vpdpbusd" in a]
    assert sum("vmovdq" in line and line.rstrip().endswith(")") for line in behind) == 0


def test_the_host_is_asked_for_its_instructions() -> None:
    import tvm

    from bmopt.backends.tvm.integers.machine import machine_for

    machine = machine_for(tvm.target.Target(host()))
    assert (machine.dot == "plain") == (machine.group == 1)
    assert machine_for(tvm.target.Target(_ARM)).stored == "int8"
    baseline = machine_for(tvm.target.Target(BASELINE | {"mtriple": "x86_64-linux-gnu"}))
    assert (baseline.dot, baseline.has_fma) == ("plain", False)


@pytest.mark.parametrize(
    ("mattr", "fuses"), [(["+neon"], False), (["+neon", "+vfp4"], True)], ids=["a8", "a7"]
)
def test_32_bit_arm_has_fused_instructions_only_with_vfp4(mattr: list[str], fuses: bool) -> None:
    import tvm

    from bmopt.backends.tvm.integers.machine import machine_for

    target = {"kind": "llvm", "mtriple": "armv7l-linux-gnueabihf", "mattr": mattr}
    assert machine_for(tvm.target.Target(target)).has_fma == fuses


@pytest.mark.parametrize(
    ("cpu", "dot"),
    [("cascadelake", "vpdpbusd"), ("alderlake", "vpdpbusd"), ("skylake-avx512", "vpmaddubsw"),
     ("x86-64-v3", "vpmaddubsw"), ("x86-64", "plain")],
)  # fmt: skip
def test_the_instruction_goes_by_the_processor(cpu: str, dot: str) -> None:
    import tvm

    from bmopt.backends.tvm.integers.machine import machine_for

    target = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": cpu}
    machine = machine_for(tvm.target.Target(target))
    assert machine.dot == dot
    assert machine.for_weights(are_narrow=True).dot == dot
    assert (machine.for_weights(are_narrow=False).dot == dot) == (dot != "vpmaddubsw")
