"""The process of a subject, made slower where it is given as ``ort:FILE``."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from bmopt.bench.clock import MONOTONIC
from bmopt.core.conversation import Command, Told
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.workflow.benching.opened import Opened
from bmopt.workflow.benching.worker import Engine

SLOWED = "ort:"
SLOWER = 0.03


class Delayed:
    """A runner that is busy for a share of every inference's time longer."""

    def __init__(self, runner: Runner, share: float) -> None:
        self._runner = runner
        self._share = share
        self.output_names = runner.output_names

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference, then wait."""
        start = MONOTONIC()
        outputs = self._runner.run(feeds)
        end = MONOTONIC()
        until = end + round(self._share * (end - start))
        while MONOTONIC() < until:
            pass
        return outputs

    def __enter__(self) -> Runner:
        self._runner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._runner.__exit__(kind, error, trace)


class SlowedEngine(Engine):
    """Wraps the runners of some subjects."""

    def open(self, tell: Told, *, text: str, threads: int, any_host: bool) -> Opened:
        """Note whether this one is to be slower, and open it."""
        self._slowed = text.startswith(SLOWED)
        return super().open(tell, text=text, threads=threads, any_host=any_host)

    def _wrapped(self, runner: Runner) -> Runner:
        return Delayed(runner, SLOWER) if self._slowed else runner


def commands() -> Mapping[str, Command]:
    """Return what the process answers."""
    return SlowedEngine().commands()
