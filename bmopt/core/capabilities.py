"""What a backend can do on this host, and why not where it can't."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """Whether a target can be compiled, built and run here.

    Attributes:
        compile: An artifact for the target can be made on this host.
        build: Its engine can be built here too; where it cannot, the artifact holds the graph
            and the device builds the engine.
        run: Such an artifact can be run on this host.
        reason: Why any of them is false; empty where all hold.
        version: The engine's version, empty where it is not installed.
    """

    compile: bool
    run: bool
    reason: str = ""
    version: str = ""
    build: bool = True

    @classmethod
    def none(cls, reason: str) -> Capabilities:
        """Return the capabilities of an engine that is not usable, with the reason."""
        return cls(compile=False, run=False, build=False, reason=reason)
