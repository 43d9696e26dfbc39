"""What it costs a process to open a model and to run it for the first time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bmopt.bench.clock import MONOTONIC
from bmopt.core.cpuinfo import ROOT, read_text
from bmopt.core.runner import Feeds, Runner
from bmopt.workflow.subjects import runner_opener

_MORE_INFERENCES = 10


def cold_start(
    text: str, threads: int, feeds: Sequence[Feeds], *, any_host: bool
) -> Mapping[str, int | None]:
    """Return times in nanoseconds and memory in bytes; ``None`` is what the host does not tell.

    What is checked beforehand and the engine's import are not part of ``load_ns``; by ``ready_ns``
    of the monotonic clock both are done.
    """
    opened = runner_opener(text, threads=threads, any_host=any_host)
    before = memory("VmRSS")
    ready = MONOTONIC()
    with _timed(opened) as (runner, loaded):
        runner.run(feeds[0])
        answered = MONOTONIC()
        for index in range(_MORE_INFERENCES):
            runner.run(feeds[index % len(feeds)])
        peak = memory("VmHWM")
    return {
        "ready_ns": ready,
        "load_ns": loaded - ready,
        "first_inference_ns": answered - loaded,
        "memory_before_bytes": before,
        "peak_memory_bytes": peak,
    }


def memory(name: str, root: Path = ROOT) -> int | None:
    """Return a size from /proc/self/status in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in read_text(root / "proc/self/status").splitlines():
        key, _, value = line.partition(":")
        fields = value.split()
        if key == name and fields and fields[0].isdigit():
            return int(fields[0]) * 1024
    return None


@contextlib.contextmanager
def _timed(opened: Callable[[], Runner]) -> Iterator[tuple[Runner, int]]:
    """Yield the opened runner and when it was."""
    with opened() as runner:
        yield runner, MONOTONIC()
