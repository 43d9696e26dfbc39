"""Latency of all subjects in turns, and of the reference beside itself.

The second instance of the reference is one more variant that takes turns with the others: it
tells the noise floor at the very moment of the comparison.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np

from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.compare import SAME, Interleaved, LatencyInterrupted, compare_variants
from bmopt.bench.noise import parted
from bmopt.core.measurement import Environment, Fact, Settings
from bmopt.errors import BmoptError, BoardError
from bmopt.workflow.benching.options import BenchOptions
from bmopt.workflow.benching.session import Session
from bmopt.workflow.benching.workers import RemoteVariant, Worker

_STEPS = 1000
_OPENING = 0.5


def measure_latency(session: Session) -> None:
    """Time all subjects in turns; those that fail are left out.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was measured by then is in the document.
    """
    session.progress.step("latency")
    reference = session.reference
    with session.process(f"{reference.name} again", reference.text) as again:
        workers = [*session.workers, *_ready(session, again)]
        try:
            with _one_awake(workers):
                found = _compared(session, workers)
            _put(session, again.name, found)
        except LatencyInterrupted as interrupted:
            _put(session, again.name, interrupted.compared)
            raise
    _note_machines(session)
    _put_device_times(session)


def _note_machines(session: Session) -> None:
    """Say where ratios of latencies compare two machines rather than two models."""
    far = [worker.name for worker in session.workers if worker.on_board]
    near = [worker.name for worker in session.workers if not worker.on_board]
    if far and near:
        session.notes.append(
            f"latency: {', '.join(far)} ran on board {session.options.board}, {', '.join(near)} "
            "on this host: a ratio of the two compares machines"
        )


@contextlib.contextmanager
def _one_awake(workers: Sequence[Worker]) -> Iterator[None]:
    """Stop all processes but the one whose turn it is: none spins on cores that another needs."""
    for worker in workers:
        worker.sleep_between_requests(is_wanted=True)
    try:
        yield
    finally:
        for worker in workers:
            worker.sleep_between_requests(is_wanted=False)


def _ready(session: Session, again: Worker) -> list[Worker]:
    """Return the second instance of the reference, opened and fed; nothing where it fails."""
    try:
        again.open()
        again.ask("feed", feeds=session.feeds)
    except BmoptError as error:
        session.problems.append(f"the noise floor was not measured: {error}")
        return []
    return [again]


def _compared(session: Session, workers: Sequence[Worker]) -> Interleaved:
    options = session.options
    variants = [RemoteVariant(worker) for worker in workers]
    stirring = Stirring(variants, options, _cpus(workers))
    facts: dict[str, Fact] = {
        "threads.cpus": stirring.cpus,
        "schedule.block_ms": options.block_ms,
        "schedule.same_addresses": all(one.opened.has_fixed_addresses for one in workers),
    }
    session.add_facts(facts)
    found = compare_variants(
        variants,
        Settings(options.duration_s, options.precision, options.block_ms, options.seed),
        environment=Environment(session.document.environment),
        progress=lambda share: session.progress.advance(round(_STEPS * share), _STEPS),
        before_turn=stirring.turn,
    )
    stirring.settle()
    session.add_facts({"schedule.openings": stirring.openings})
    return found


def _put(session: Session, again: str, found: Interleaved) -> None:
    for name, error in found.failures.items():
        if name == again:
            if isinstance(error, BoardError):
                continue  # the reference is on the same board
            session.problems.append(f"the noise floor was not measured: {error}")
        else:
            session.fail(name, error)
    if found.measurement is None:
        return
    rest, noise = parted(found.measurement, again, SAME)
    session.put(
        measurement=rest,
        noise_floor=noise,
        environment={
            **session.document.environment,
            **found.measurement.environment.facts,
        },
    )


def _put_device_times(session: Session) -> None:
    facts: dict[str, Fact] = {
        f"device.{worker.name}.median_ns": found
        for worker, found in session.each(lambda worker: worker.ask("device"))
        if found is not None
    }
    session.add_facts(facts)


class Stirring:
    """What changes from turn to turn for all variants alike, so that no chance lasts.

    CPUs: left alone, the kernel keeps each process on a CPU of its own, and CPUs of a shared
    machine differ, one may have a busy neighbour. Within a turn all run on the same CPUs, and over
    the turns each CPU gets its share.

    Memory: all models are closed and opened again, see ``Engine.reopen``, before every turn where
    that takes no more than half of the turn, otherwise before every second, third, ...
    """

    def __init__(
        self,
        variants: Sequence[RemoteVariant],
        options: BenchOptions,
        cpus: Sequence[int],
        clock: Clock = MONOTONIC,
    ) -> None:
        threads = options.threads
        moves = 0 < threads < len(cpus)
        self._variants = variants
        self._cpus = cpus
        self._places = itertools.cycle(_places(cpus, threads)) if moves else None
        self._seed = options.seed
        self._clock = clock
        self._turns = 0
        self._next_opening = 0
        self._turn_ns = 2 * len(variants) * options.block_ms * 1e6
        self._ended_ns: int | None = None
        self.openings = 0
        self.cpus = f"{threads} of {len(cpus)}, others every turn" if moves else "any"

    def turn(self) -> None:
        """Prepare all variants for the next turn."""
        if self._ended_ns is not None:
            self._turn_ns = self._clock() - self._ended_ns
        if self._places is not None:
            cpus = next(self._places)
            for variant in self._variants:
                variant.prepare("move", cpus=cpus)
        if self._turns >= self._next_opening:
            self._reopen()
        self._turns += 1
        self._ended_ns = self._clock()

    def settle(self) -> None:
        """Let all processes run on any CPU again."""
        for variant in self._variants if self._places is not None else ():
            variant.prepare("move", cpus=self._cpus)

    def _reopen(self) -> None:
        seeds = np.random.default_rng((self._seed, self._turns)).integers(1 << 31, size=2 << 8)
        begin = self._clock()
        for variant, seed in zip(self._variants, seeds, strict=False):
            variant.prepare("reopen", seed=int(seed))
        took = self._clock() - begin
        self.openings += 1
        self._next_opening = self._turns + max(1, math.ceil(took / (_OPENING * self._turn_ns)))


def _places(cpus: Sequence[int], threads: int) -> list[tuple[int, ...]]:
    """Return the sets of CPUs: disjoint, each as large as asked."""
    starts = range(0, len(cpus) - threads + 1, threads)
    return [tuple(cpus[start : start + threads]) for start in starts]


def _cpus(workers: Sequence[Worker]) -> Sequence[int]:
    """Return the CPUs to go round; none where an engine's driver has threads of its own."""
    if any(worker.opened.settings for worker in workers) or not hasattr(os, "sched_getaffinity"):
        return ()
    return sorted(os.sched_getaffinity(0))
