"""Targets: what an artifact is made for, as ``engine-precision[:device]``."""

from __future__ import annotations

import dataclasses

from bmopt.errors import TargetError

ENGINES: dict[str, tuple[str, ...]] = {"ort": ("fp32", "int8")}
"""Engine -> its precisions."""

DEVICES: dict[str, tuple[str, ...]] = {
    "ort": ("x86-vnni", "x86-avx512", "x86-avx2", "arm64-dotprod", "arm64"),
}
"""Engine -> the devices that an artifact can be made for; none given means this host."""


@dataclasses.dataclass(frozen=True)
class Target:
    """An engine, a precision, and the device if it is not this host.

    Attributes:
        engine: For example ``"ort"``.
        precision: For example ``"int8"``.
        device: For example ``"x86-vnni"``; empty for this host.
    """

    engine: str
    precision: str
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse ``engine-precision[:device]``.

        Raises:
            TargetError: A part is unknown; the message lists the valid ones.
        """
        head, _, device = text.partition(":")
        engine, _, precision = head.partition("-")
        if engine not in ENGINES or precision not in ENGINES[engine]:
            raise TargetError(f"unknown target {text!r}; valid are {', '.join(all_targets())}")
        if ":" in text and device not in DEVICES[engine]:
            valid = ", ".join(DEVICES[engine])
            raise TargetError(f"unknown device {device!r} in {text!r}; {engine} has {valid}")
        return cls(engine, precision, device)

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back."""
        head = f"{self.engine}-{self.precision}"
        return f"{head}:{self.device}" if self.device else head


def all_targets() -> tuple[str, ...]:
    """Return every target without a device."""
    return tuple(f"{e}-{p}" for e, precisions in ENGINES.items() for p in precisions)
