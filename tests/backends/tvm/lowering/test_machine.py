from __future__ import annotations

import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.targets import DEVICES
from tests.backends.tvm.installed import needs_tvm

if not probe.why_not():
    import tvm

    from bmopt.backends.tvm.lowering.machine import machine_of

pytestmark = needs_tvm


@pytest.mark.parametrize(
    ("device", "lanes", "registers"),
    [
        ("x86-vnni", 16, 32),
        ("x86-avx2", 8, 16),
        ("cortex-a72", 4, 24),
        ("armv7-neon", 4, 16),
        ("riscv64-rvv", 4, 32),
    ],
)
def test_lanes_and_registers_are_the_targets_not_the_hosts(
    device: str, lanes: int, registers: int
) -> None:
    machine = machine_of(tvm.target.Target(DEVICES[device].to_dict()), 4)
    assert (machine.lanes, machine.registers, machine.threads) == (lanes, registers, 4)
