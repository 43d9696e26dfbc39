"""Hosts that tests pretend to run on."""

from __future__ import annotations

from bmopt.core.host import Host


def host(architecture: str, *flags: str) -> Host:
    return Host(
        vendor="vendor",
        model="model",
        architecture=architecture,
        flags=flags,
        physical_cores=4,
        logical_cores=8,
        affinity=8,
        cpu_quota=None,
        governor="performance",
        frequency_mhz=None,
        max_frequency_mhz=None,
        memory_bytes=1 << 30,
        gpus=(),
        os="os",
        kernel="kernel",
        python="3",
    )
