"""Which nodes each fused function stands for, seen while TVM's passes fuse them.

Relax keeps the names of variables from pass to pass, but a fused function's result gets a new
one, and equal functions become one. So the calls after a pass that fuses are taken apart, and
every operation in them is found again before the pass by what it computes from what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.importing import MARK, Native
from bmopt.backends.tvm.names import MAIN

_MARKED = re.compile(rf"{MARK}(\d+)")
"""Nodes in the name of a variable; our own fusing joins names of what it puts together."""

_JOINT = "__"
"""What names are joined by."""

_FUSING = frozenset({"FuseOps", "FuseOpsByPattern"})

Nodes = frozenset[int]
"""Indices of nodes."""


class _Values:
    """Numbers for values, equal where the same operation makes them of equal values."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Any, ...], int] = {}

    def number(self, *key: Any) -> int:  # noqa: ANN401 - parts of a key
        return self._numbers.setdefault(key, len(self._numbers))


class _Reader:
    """Reads the bindings of one module's functions."""

    def __init__(self, module: Native, values: _Values) -> None:
        self._module, self._values = module, values
        self._relax = probe.load("tvm.relax")
        self._ir = probe.load("tvm.ir")
        self.seen: list[tuple[int, str]] = []

    def read(self, function: Native, arguments: Sequence[int]) -> int:
        """Return the number of what a function returns; ``seen`` gets (number, variable)."""
        known: dict[Any, int] = dict(zip(function.params, arguments, strict=False))
        for block in function.body.blocks:
            for binding in block.bindings:
                value = binding.value
                number = self._number(value, known)
                known[binding.var] = number
                self.seen.append((number, str(binding.var.name)))
        return self._number(function.body.body, known)

    def _number(self, value: Native, known: Mapping[Any, int]) -> int:
        relax, ir = self._relax, self._ir
        if isinstance(value, relax.Var):
            return known.get(value, self._values.number("free", value))
        if isinstance(value, relax.Tuple):
            return self._values.number("tuple", *(self._number(f, known) for f in value.fields))
        if isinstance(value, relax.TupleGetItem):
            of = self._number(value.tuple_value, known)
            return self._values.number("item", of, int(value.index))
        if isinstance(value, relax.Call):
            arguments = [self._number(argument, known) for argument in value.args]
            if isinstance(value.op, ir.GlobalVar):
                called = self._module[value.op]
                if isinstance(called, relax.Function):
                    return self.read(called, arguments)
            return self._values.number("call", self._number(value.op, known), *arguments)
        if isinstance(value, ir.GlobalVar):
            return self._values.number("function", str(value.name_hint))
        if isinstance(value, relax.ShapeExpr):
            # A fused function has symbols of its own.
            return self._values.number("shape", len(value.values))
        return self._values.number("leaf", value)


class FusionTrace:
    """Follows nodes through the passes it is the instrument of.

    Attributes:
        nodes: Variable of ``main`` -> the nodes that its value stands for, by their indices; of
            those that were made by fusing.
        calls: The functions that ``main`` called after fusing, in order, each with its nodes.
    """

    def __init__(self, aliases: Mapping[str, str] | None = None) -> None:
        self.nodes: dict[str, Nodes] = {}
        self.calls: list[tuple[str, Nodes]] = []
        self._aliases = dict(aliases or {})
        self._before: Native = None

    def instrument(self) -> Native:
        """Return the pass instrument."""
        trace = self

        class Instrument:
            def run_before_pass(self, module: Native, info: Native) -> None:
                if str(info.name) in _FUSING and _has_main(module):
                    trace._before = module

            def run_after_pass(self, module: Native, info: Native) -> None:
                if str(info.name) in _FUSING and _has_main(module):
                    trace._follow(module)

        return probe.load("tvm.ir.instrument").pass_instrument(Instrument)()

    def _follow(self, after: Native) -> None:
        values = _Values()
        names: dict[int, Nodes] = {}
        count = len(self._before[MAIN].params)
        inputs = [values.number("input", index) for index in range(count)]
        reader = _Reader(self._before, values)
        reader.read(self._before[MAIN], inputs)
        for number, variable in reader.seen:
            names[number] = names.get(number, frozenset()) | self.of(variable)
        found = _of_main(after, values, inputs, names)
        self.calls = [(called, nodes) for _, called, nodes in found if called]
        # Names repeat: a tuple may be called like the call that its first element is from.
        self.nodes = {}
        for variable, _, nodes in found:
            self.nodes[variable] = self.nodes.get(variable, frozenset()) | nodes
        self._before = None

    def forget(self) -> None:
        """Forget what was fused: the passes begin anew."""
        self.nodes, self.calls = {}, []

    def of(self, variable: str) -> Nodes:
        """Return the nodes that a variable of ``main`` stands for, none where that is unknown."""
        if variable in self.nodes:
            return self.nodes[variable]
        name = variable
        if not self.nodes:  # after fusing, names begin anew
            known = (self._aliases.get(part, "") for part in variable.split(_JOINT))
            name = " ".join((variable, *known))
        return frozenset(map(int, _MARKED.findall(name)))


def _has_main(module: Native) -> bool:
    return any(str(name.name_hint) == MAIN for name in module.get_global_vars())


def _of_main(
    module: Native, values: _Values, inputs: Sequence[int], names: Mapping[int, Nodes]
) -> list[tuple[str, str, Nodes]]:
    """Return (variable, called function, nodes) for every binding of ``main``."""
    reader = _Reader(module, values)
    found: list[tuple[str, str, Nodes]] = []
    main = module[MAIN]
    known: dict[Any, int] = dict(zip(main.params, inputs, strict=True))
    for block in main.body.blocks:
        for binding in block.bindings:
            reader.seen.clear()
            number = reader._number(binding.value, known)
            known[binding.var] = number
            inner = [inside for inside, _ in reader.seen]
            parts = [names.get(one, frozenset()) for one in dict.fromkeys((*inner, number))]
            nodes: Nodes = frozenset().union(*parts)
            found.append((str(binding.var.name), called_function(binding.value), nodes))
    return found


def called_function(value: Native) -> str:
    """Return the name of the function of its module that an expression calls, empty for none."""
    relax, ir = probe.load("tvm.relax"), probe.load("tvm.ir")
    if not isinstance(value, relax.Call):
        return ""
    for one in (value.op, *value.args[:1]):
        if isinstance(one, ir.GlobalVar):
            return str(one.name_hint)
    return ""
