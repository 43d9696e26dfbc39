"""What a backend can do on this host, and why not where it can't."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """Whether a target can be compiled and run here.

    Attributes:
        compile: An artifact for the target can be made on this host.
        run: Such an artifact can be run on this host.
        reason: Why either is false; empty where both hold.
        version: The engine's version, empty where it is not installed.
    """

    compile: bool
    run: bool
    reason: str = ""
    version: str = ""

    @classmethod
    def none(cls, reason: str) -> Capabilities:
        """Return the capabilities of an engine that is not usable, with the reason."""
        return cls(compile=False, run=False, reason=reason)
