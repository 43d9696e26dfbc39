"""Kernels written with options that nobody measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bmopt.backends.tvm.tuning.decisions import Decisions, Value, deciding


class Forced:
    """Takes one option of a decision in every kernel that has it."""

    def __init__(self, name: str, which: Callable[[tuple[Value, ...]], Value]) -> None:
        self._name, self._which = name, which
        self.taken: Counter[str] = Counter()

    def written(self, workload: str, write: Callable[[], Any]) -> Any:
        """Write a kernel with the option, once it has told which there are."""
        told = Decisions({})
        with deciding(told):
            made = write()
        options = told.seen.get(self._name, ())
        if len(options) < 2:
            return made
        self.taken[workload] += 1
        choice: Mapping[str, Value] = {self._name: self._which(options)}
        with deciding(Decisions(choice)):
            return write()

    def searched(self, function: Any, default: Any) -> Any:
        """Leave what TVM lowered as it is."""
        return default
