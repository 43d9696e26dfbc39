"""Start-up, memory, throughput and energy: what each costs in processes of their own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bmopt.bench.schedule import orders
from bmopt.core.bench_document import Energy, ProcessCost, Throughput
from bmopt.core.host import host_facts
from bmopt.errors import BmoptError
from bmopt.workflow.benching.opened import Opened
from bmopt.workflow.benching.session import Session
from bmopt.workflow.benching.workers import Worker
from bmopt.workflow.shared_inputs import fitted_feeds

_FEEDS = 11
_THROUGHPUT_S = 0.5
_ENERGY_S = 2.0


def measure_costs(session: Session) -> None:
    """Open every subject in fresh processes, in turns, and note what that costs."""
    session.progress.step("start-up and memory")
    here = session.here("start-up and memory")
    order = orders([worker.name for worker in here], session.options.seed)
    for index in range(session.options.processes if here else 0):
        for name in next(order):
            worker = next((one for one in session.workers if one.name == name), None)
            if worker is not None:
                _add_cost(session, worker)
        session.progress.advance(index + 1, session.options.processes)


def _add_cost(session: Session, worker: Worker) -> None:
    try:
        cost = _cost(session, worker)
    except BmoptError as error:
        session.fail(worker.name, error)
        return
    session.put(processes=(*session.document.processes, cost))


def _cost(session: Session, worker: Worker) -> ProcessCost:
    options = session.options
    feeds = [fitted_feeds(one, worker.opened.inputs) for one in session.feeds[:_FEEDS]]
    is_cold = _evict(worker.opened)
    # As a deployment would be; to fix them takes time, too.
    with session.process(worker.name, worker.text, fixed_addresses=False) as own:
        found: Mapping[str, int | None] = own.ask(
            "cost",
            text=worker.text,
            threads=options.threads,
            any_host=options.any_host,
            feeds=feeds,
        )
        ready = (found["ready_ns"] or 0) - own.started_ns
    load, first = found["load_ns"] or 0, found["first_inference_ns"] or 0
    return ProcessCost(
        subject=worker.name,
        load_ns=load,
        first_inference_ns=first,
        cold_start_ns=ready + load + first,
        peak_memory_bytes=found["peak_memory_bytes"],
        facts={
            "start and imports (ms)": round(ready / 1e6, 1),
            "memory before load (bytes)": found["memory_before_bytes"],
            "model file in the page cache": not is_cold,
        },
    )


def _evict(opened: Opened) -> bool:
    """Ask the kernel to forget the subject's files; return whether that was possible.

    Pages that another process has mapped stay, so this is a wish; the disk's own cache is beyond
    reach.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in _files(opened.path):
        with contextlib.suppress(OSError), file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.iterdir() if file.is_file())
        return
    yield path
    yield from (other for other in (path.with_suffix(".bin"),) if other.is_file())


def measure_throughput(session: Session) -> None:
    """Measure samples per second by batch and threads, a process per subject and thread count."""
    session.progress.step("throughput")
    asked = session.options.thread_counts
    pairs = [
        (threads, worker)
        for worker in session.workers
        for threads in asked or _thread_counts(session, worker)
    ]
    for index, (threads, worker) in enumerate(sorted(pairs, key=lambda pair: pair[0])):
        if worker.name not in session.failures:
            _add_throughputs(session, worker, threads)
        session.progress.advance(index + 1, len(pairs))


def _add_throughputs(session: Session, worker: Worker, threads: int) -> None:
    try:
        found = _throughputs(session, worker, threads)
    except BmoptError as error:
        session.fail(worker.name, error)
        return
    session.put(throughput=(*session.document.throughput, *found))


def _thread_counts(session: Session, worker: Worker) -> tuple[int, ...]:
    """Return one and as many as there are cores, or as a board's server has threads."""
    if worker.on_board:
        return tuple(dict.fromkeys((1, max(1, session.board_threads))))
    cores = host_facts(query_gpus=str).physical_cores or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return tuple(dict.fromkeys((1, max(1, min(cores, usable)))))


def _throughputs(session: Session, worker: Worker, threads: int) -> list[Throughput]:
    found = []
    with session.process(worker.name, worker.text) as own:
        own.open(threads)
        own.ask("feed", feeds=session.feeds)
        alone = session.samples.opened.pool[0].size
        for batch in _batches(alone, session.options.batch_sizes):
            latencies = own.ask(
                "throughput", seconds=_THROUGHPUT_S, batch=batch // alone, length_s=_THROUGHPUT_S
            )
            if latencies is not None:
                taken = tuple(map(int, np.asarray(latencies).tolist()))
                rate = batch * len(taken) / (sum(taken) / 1e9)
                found.append(Throughput(worker.name, batch, threads, rate, taken))
    return found


def _batches(alone: int, asked: Sequence[int]) -> list[int]:
    """Return the batches that inferences of ``alone`` samples can be joined to."""
    return list(dict.fromkeys([alone, *(b for b in asked if b > alone and b % alone == 0)]))


def measure_energy(session: Session) -> None:
    """Measure the energy of an inference where the host has meters."""
    session.progress.step("energy")
    found: list[Energy] = []
    for _, rows in session.each(
        lambda worker: worker.ask(
            "energy", seconds=_ENERGY_S, name=worker.name, length_s=_ENERGY_S
        ),
        session.here("energy"),
    ):
        found.extend(rows)
    session.put(energy=tuple(found))
