"""The tasks of a model: its distinct kernels, how they may be written, and how often they run."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.fusion_trace import called_function
from bmopt.backends.tvm.importing import Native
from bmopt.backends.tvm.names import MAIN
from bmopt.backends.tvm.tuning import search_space
from bmopt.backends.tvm.tuning.decisions import Decisions, Value, deciding

WORKLOAD = "bmopt.workload"
"""Attribute of a function that has its task's key."""

TUNED = "bmopt.tuned"
"""Attribute of a function that was written with measured decisions."""

SCHEDULE = "bmopt.schedule"
_BY_TVM = "metaschedule"
_SPATIAL = 0

TRACE = "trace"
"""The decision that stands for a schedule of TVM's own search."""

Schedule = Mapping[str, Any]
"""Decision -> what is taken; empty for a kernel as it is without tuning."""

Chosen = Callable[[str], Schedule]
"""Key of a task -> the best schedule that is known, empty for the default."""


def key_of(workload: str) -> str:
    """Return the key of a task from what describes it."""
    return hashlib.sha256(workload.encode()).hexdigest()[:24]


def nothing(_key: str) -> Schedule:
    """Choose the default of every kernel."""
    return {}


@dataclasses.dataclass(frozen=True)
class Task:
    """A kernel to tune.

    Attributes:
        key: Of what it computes.
        name: For people.
        write: Writes it with a schedule.
        options: Decision -> its options, the default first; nothing for TVM's own search. More
            are found while candidates are written.
        plain: The function without a schedule, for TVM's own search.
        calls: How often the model runs it.
    """

    key: str
    name: str
    write: Callable[[Schedule], Native]
    options: Mapping[str, tuple[Value, ...]]
    plain: Native = None
    calls: int = 1

    @property
    def searched_by_tvm(self) -> bool:
        """Whether TVM's own search makes the candidates."""
        return self.plain is not None


class KernelWriter:
    """Writes kernels as they were chosen, and keeps those that have a choice as tasks.

    Attributes:
        dynamic: Functions with sums that TVM's search cannot take, as sizes are symbols.
    """

    def __init__(self, chosen: Chosen = nothing) -> None:
        self._chosen = chosen
        self._tasks: dict[str, Task] = {}
        self.dynamic = 0

    def written(self, workload: str, write: Callable[[], Native]) -> Native:
        """Return a kernel with its key; see ``decisions.Writer``."""
        key = key_of(workload)

        options: dict[str, tuple[Value, ...]] = {}

        def scheduled(schedule: Schedule) -> Native:
            decisions = Decisions(schedule)
            with deciding(decisions):
                made = write()
            # Some decisions are only asked for where others were taken in a certain way.
            for name, many in decisions.seen.items():
                if len(many) > 1:
                    options.setdefault(name, many)
            return made

        made = scheduled(self._chosen(key))
        if not options:
            return made
        self._tasks.setdefault(key, Task(key, workload, scheduled, options))
        made = made.with_attr(WORKLOAD, key)
        return made.with_attr(TUNED, 1) if self._chosen(key) else made

    def searched(self, function: Native, default: Native) -> Native:
        """Return a function as TVM's search scheduled it; see ``decisions.Writer``."""
        if not _sums(function):
            return default  # it only moves values or maps them, which memory limits
        if not is_fixed(function):
            self.dynamic += 1
            return default
        key = key_of(f"tvm {structure_of(function)}")
        trace = str(self._chosen(key).get(TRACE, ""))

        shares = search_space.has_shared_loops(default)

        def scheduled(schedule: Schedule) -> Native:
            if TRACE not in schedule:
                return default
            return search_space.applied(function, str(schedule[TRACE]), shares=shares)

        self._tasks.setdefault(key, Task(key, "lowered by TVM", scheduled, {}, function))
        made = _made(scheduled, trace) if trace else None
        if made is None:
            return default.with_attr(WORKLOAD, key)
        return made.with_attrs({WORKLOAD: key, TUNED: 1, SCHEDULE: _BY_TVM})

    def tasks(self, module: Native) -> list[Task]:
        """Return the tasks that ``main`` of a lowered module calls, with how often."""
        counted = Counter(_keys(module))
        return [
            dataclasses.replace(task, calls=counted[key])
            for key, task in self._tasks.items()
            if counted[key]
        ]


def _keys(module: Native) -> list[str]:
    """Return the keys of the functions that ``main`` calls."""
    found = []
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            name = called_function(binding.value)
            attributes = module[name].attrs if name else None
            if attributes and WORKLOAD in attributes:
                found.append(str(attributes[WORKLOAD]))
    return found


def is_fixed(function: Native) -> bool:
    """Whether every size of a function's tensors is a number."""
    sizes = [size for buffer in function.params for size in buffer.shape]
    return all(isinstance(one, probe.load("tvm.tirx").IntImm) for one in sizes)


def _sums(function: Native) -> bool:
    """Whether a function has a loop over what it adds up."""
    tvm = probe.load("tvm")
    try:
        schedule = tvm.s_tir.Schedule(tvm.IRModule({MAIN: function}))
        blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
        loops = [one for block in blocks for one in schedule.get(block).iter_vars]
    except Exception:
        return False  # no function that can be scheduled
    return any(int(one.iter_type) != _SPATIAL for one in loops)


def structure_of(function: Native) -> int:
    """Return a hash of what a function computes, whatever its variables are called."""
    bare = (
        function.without_attr("global_symbol") if "global_symbol" in function.attrs else function
    )
    return int(probe.load("tvm_ffi").structural_hash(bare))


def _made(scheduled: Callable[[Schedule], Native], trace: str) -> Native:
    """Return a function with a schedule, None where that does not fit any more."""
    try:
        return scheduled({TRACE: trace})
    except Exception:
        return None


def as_module(function: Native) -> Native:
    """Return a module of one function, called ``main``."""
    tvm = probe.load("tvm")
    return tvm.IRModule({MAIN: function.with_attr("global_symbol", MAIN)})
