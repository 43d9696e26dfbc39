"""A schedule for what TVM lowers: loops over outputs become vectors and parallel.

A function that cannot be scheduled so stays as it is.
"""

from __future__ import annotations

import math

import tvm
from tvm import tirx

from bmopt.backends.tvm.lowering.machine import Machine
from bmopt.backends.tvm.lowering.stmts import KERNEL_ATTRIBUTE, SCHEDULE_ATTRIBUTE, Native
from bmopt.backends.tvm.tuning.decisions import searched

_SPATIAL = 0
_MARKS = (KERNEL_ATTRIBUTE, SCHEDULE_ATTRIBUTE, "tirx.is_scheduled")


def scheduled(mod: Native, machine: Machine) -> Native:
    """Return the module with schedules for the functions that have none."""
    changed = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs)
    for name, function in mod.functions.items():
        if isinstance(function, tirx.PrimFunc) and _is_open(function):
            default = _scheduled(function, machine)
            changed.update_func(name, searched(function, default))
    return changed


def _is_open(function: Native) -> bool:
    marks = function.attrs or {}
    return not any(key in marks for key in _MARKS)


def _scheduled(function: Native, machine: Machine) -> Native:
    schedule = tvm.s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        root = schedule.get_sblock("root")
        for block in schedule.get_child_blocks(root)[:-1]:
            _inline(schedule, block)
        for block in schedule.get_child_blocks(root):
            _Loops(schedule, block, machine).schedule()
    except (tvm.s_tir.schedule.ScheduleError, tvm.error.InternalError):
        return function
    return schedule.mod["main"].with_attr(SCHEDULE_ATTRIBUTE, "vectors")


def _inline(schedule: Native, block: Native) -> None:
    try:
        schedule.compute_inline(block)
    except tvm.s_tir.schedule.ScheduleError:
        # It is a sum, or what the function returns: it keeps its loops.
        return


class _Loops:
    """The loops of one block."""

    def __init__(self, schedule: Native, block: Native, machine: Machine) -> None:
        self._schedule, self._block, self._machine = schedule, block, machine
        kinds = [int(one.iter_type) for one in schedule.get(block).iter_vars]
        loops = schedule.get_loops(block)
        is_straight = len(kinds) == len(loops)
        pairs = list(zip(loops, kinds, strict=True)) if is_straight else []
        self._spatial = [one for one, kind in pairs if kind == _SPATIAL]
        self._reduced = [one for one, kind in pairs if kind != _SPATIAL]

    def schedule(self) -> None:
        """Schedule the block, if its loops are plain ones."""
        parallel = self._machine.shares(2.0 * self._turns() / self._machine.lanes)
        if self._spatial and self._reduced:
            self._sum(parallel=parallel)
        elif self._spatial:
            self._map(parallel=parallel)

    def _turns(self) -> int:
        """Return the turns of all loops; a symbol counts as one."""
        extents = [self._schedule.get(one).extent for one in self._spatial + self._reduced]
        return math.prod(int(one) for one in extents if isinstance(one, tirx.IntImm))

    def _map(self, *, parallel: bool) -> None:
        """Fuse all loops; vectors inside, threads outside."""
        outer, inner = self._schedule.split(
            self._fused(self._spatial), [None, self._machine.lanes]
        )
        self._schedule.vectorize(inner)
        if parallel:
            self._schedule.parallel(outer)

    def _sum(self, *, parallel: bool) -> None:
        """Put a vector of outputs inside the sum where their number allows it."""
        schedule, lanes = self._schedule, self._machine.lanes
        *outer, last = self._spatial
        extent = schedule.get(last).extent
        is_whole = isinstance(extent, tirx.IntImm) and int(extent) % lanes == 0
        if is_whole:
            rest, inner = schedule.split(last, [None, lanes])
            outer = [*outer, rest]
            schedule.reorder(*outer, *self._reduced, inner)
            schedule.vectorize(inner)
        else:
            outer = self._spatial
            schedule.reorder(*outer, *self._reduced)
        if parallel:
            schedule.parallel(self._fused(outer))
        if is_whole:
            # Without a start of its own, the sum would ask in every turn whether it is the first.
            start = schedule.decompose_reduction(self._block, self._reduced[0])
            schedule.vectorize(schedule.get_loops(start)[-1])

    def _fused(self, loops: list[Native]) -> Native:
        return self._schedule.fuse(*loops) if len(loops) > 1 else loops[0]
