"""Candidates of TVM's own search (MetaSchedule), as traces of its schedule language."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.names import MAIN

_SEARCH = "tvm.s_tir.meta_schedule"
_INTRINSICS = "tvm.s_tir.tensor_intrin"
_OTHER_DEVICES = ("cuda", "rocm", "metal", "hexagon")

_PARENTS = 4
_POPULATION = 16
_NEW = 4
_GENERATIONS = 2

Measured = tuple[str, float]
"""A trace, and its time as a part of the default's; infinity where it failed."""


def proposed(module: Native, target: Native, known: Sequence[Measured], count: int) -> list[str]:
    """Return up to ``count`` traces that are not ``known``, as JSON.

    They are drawn from the space that MetaSchedule's rules for a CPU span: the first at random,
    later ones by changing the best that are known. How many those are seeds the draw, so that it
    goes on where it ended.

    Args:
        module: A module of one function without a schedule.
        target: What it is compiled for.
        known: Traces that were proposed before.
        count: How many to return at most.
    """
    search = of_processors(_SEARCH)
    parents = sorted((one for one in known if one[1] < 1.0), key=lambda one: one[1])[:_PARENTS]
    context = search.TuneContext(
        mod=module,
        target=target,
        space_generator="post-order-apply",
        search_strategy=_changing(search) if parents else "replay-trace",
        num_threads=1,
        rand_state=1 + len(known),
    )
    database = search.database.MemoryDatabase()
    for trace, ratio in parents:
        _add(search, database, context, trace, ratio)
    context.search_strategy.pre_tuning(
        max_trials=2 * count,
        num_trials_per_iter=2 * count,
        design_spaces=context.generate_design_space(),
        database=database,
        cost_model=search.cost_model.RandomModel(seed=1 + len(known)),
    )
    candidates = context.search_strategy.generate_measure_candidates() or []
    fresh = dict.fromkeys(trace_of(one.sch) for one in candidates)
    old = {trace for trace, _ in known}
    return [one for one in fresh if one not in old][:count]


def _changing(search: Native) -> Native:
    """Return TVM's evolution, with a population that takes no time to bring up."""
    return search.search_strategy.EvolutionarySearch(
        population_size=_POPULATION,
        init_measured_ratio=0.5,
        init_min_unmeasured=_NEW,
        genetic_num_iters=_GENERATIONS,
        genetic_mutate_prob=0.9,
    )


def _add(search: Native, database: Native, context: Native, trace: str, ratio: float) -> None:
    schedule = probe.load("tvm.s_tir").Schedule(context.mod)
    _apply(trace, schedule)
    entry = search.arg_info.ArgInfo.from_entry_func(context.mod, remove_preproc=True)
    workload = database.commit_workload(context.mod)
    database.commit_tuning_record(
        search.database.TuningRecord(schedule.trace, workload, [ratio], context.target, entry)
    )


def _apply(trace: str, schedule: Native) -> None:
    probe.load("tvm.s_tir.schedule").Trace.apply_json_to_schedule(json.loads(trace), schedule)


def trace_of(schedule: Native) -> str:
    """Return the trace that made a schedule, as JSON."""
    return json.dumps(plain(schedule.trace.as_json()))


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of JSON, in TVM's containers
    """Return a value in containers of Python."""
    if isinstance(value, str | bytes):
        return str(value)
    if isinstance(value, bool | int | float) or value is None:
        return value
    if hasattr(value, "items"):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "__iter__"):
        return [plain(one) for one in value]
    return plain(value.value) if hasattr(value, "value") else value


def applied(function: Native, trace: str, *, shares: bool) -> Native:
    """Return a function with the schedule of a trace.

    MetaSchedule has threads share every loop; where it does not pay, one thread runs them all.

    Args:
        function: It, without a schedule.
        trace: What was proposed for it.
        shares: Whether it is worth to be shared between threads.

    Raises:
        Exception: Whatever TVM raises where the trace does not fit.
    """
    module = probe.load("tvm").IRModule({MAIN: function})
    schedule = of_processors("tvm.s_tir").Schedule(module)
    _apply(trace, schedule)
    made = schedule.mod[MAIN]
    return made if shares else made.with_body(_loops(made.body, _serial))


def has_shared_loops(function: Native) -> bool:
    """Whether threads share a loop of a function."""
    found: list[bool] = []

    def look(loop: Native) -> Native:
        found.append(int(loop.kind) == _parallel())
        return loop

    _loops(function.body, look)
    return any(found)


def _loops(body: Native, change: Callable[[Native], Native]) -> Native:
    return probe.load("tvm_ffi").structural_map(body, (probe.load("tvm.tirx").For, change))


def _serial(loop: Native) -> Native:
    if int(loop.kind) != _parallel():
        return loop
    tirx = probe.load("tvm.tirx")
    kind = tirx.ForKind.SERIAL
    return tirx.For(loop.loop_var, loop.min, loop.extent, kind, loop.body)


def _parallel() -> int:
    return int(probe.load("tvm.tirx").ForKind.PARALLEL)


def of_processors(module: str) -> Native:
    """Return a module of TVM's that knows intrinsics of processors only.

    Those of other devices take half a minute to be parsed, in every process anew.
    """
    for device in _OTHER_DEVICES:
        name = f"{_INTRINSICS}.{device}"
        sys.modules.setdefault(name, types.ModuleType(name))
    probe.load(_INTRINSICS)
    return probe.load(module)
