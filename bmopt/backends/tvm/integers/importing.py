"""From a Q/DQ graph to a relax module that computes it in integers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import onnx
import onnx_ir as ir
import tvm
from tvm import relax, tirx

from bmopt.backends.tvm import importing
from bmopt.backends.tvm.integers.borders import Pack
from bmopt.backends.tvm.integers.kernel import Kernel, Spec
from bmopt.backends.tvm.integers.machine import Machine, machine_for
from bmopt.backends.tvm.integers.native import Native
from bmopt.backends.tvm.integers.rewriting import OP, Rewritten, rewrite
from bmopt.backends.tvm.names import MAIN
from bmopt.backends.tvm.tuning.decisions import tunable

_NUMBER = re.compile(r"-?\d+\.\d+(e[-+]?\d+)?")
_KERNEL = "bmopt.kernel"
_SCHEDULE = "bmopt.schedule"


def import_integers(model: ir.Model, target: tvm.target.Target | None = None) -> tvm.IRModule:
    """Return the relax module of a Q/DQ graph; its integer nodes are calls of own functions.

    Args:
        model: The graph; it is not changed. Without Q/DQ nodes it is imported as it is.
        target: A CPU that kernels are written for; where left out, the one of the surrounding
            ``with target``, else this host's baseline.

    Returns:
        A module whose ``main`` takes the inputs in order and returns the output, or a tuple of
        them. The weights are constants in it. A variable's name has the marks of the nodes in
        ``model`` that it computes.

    Raises:
        BuildError: TVM's importer refuses a node that is left in float.
    """
    aim = target or tvm.target.Target.current(allow_none=True) or tvm.target.Target("llvm")
    machine = machine_for(aim)
    rewritten = rewrite(model, machine)
    proto = ir.to_proto(rewritten.model)
    index = {node.name or "": i for i, node in enumerate(model.graph)}
    own = {node.output[0]: node.name for node in proto.graph.node}
    kernels = {}
    for node in proto.graph.node:
        kernel = rewritten.kernels.get(node.name) if node.op_type == OP else None
        node.name = _variable(rewritten, node.name, index)
        if kernel is not None:
            kernels[node.output[0]] = kernel
    importer = _importer(proto, own)
    _Kernels(importer, kernels, machine).install()
    module = importer.from_onnx(proto.graph, rewritten.model.opset_imports.get("", 1))
    aliases = {**importer.aliases, **importing.output_aliases(module)}
    module[MAIN] = module[MAIN].with_attr(importing.ALIASES, json.dumps(aliases))
    return module


def _variable(rewritten: Rewritten, name: str, index: Mapping[str, int]) -> str:
    """Return the name of the relax variable of a node's first output."""
    members = rewritten.replaced.get(name, (name,))
    known = [index[member] for member in members if member in index]
    return "__".join(map(importing.mark_of, known)) or "moved"


def _importer(proto: onnx.ModelProto, own: Mapping[str, str]) -> Native:
    """Return the importer of what is left in float; ``own`` has nodes' names by their output."""
    nodes = [node for node in proto.graph.node if node.op_type != OP]
    shapes = {node.name for node in nodes if importing.is_shape(node, proto)}
    return importing.named_importer({node.name: own[node.output[0]] for node in nodes}, shapes)


def _described(spec: Spec) -> str:
    """Return what a kernel computes, without scales, which its time does not depend on."""
    return f"integer {_NUMBER.sub('#', repr(spec))}"


class _Kernels:
    """Converts the nodes that stand for kernels.

    Args:
        importer: TVM's, which converts all other nodes.
        kernels: Name of the result of such a node -> its kernel, in the graph's order.
        machine: What kernels are written for.
    """

    def __init__(self, importer: Native, kernels: Mapping[str, Kernel], machine: Machine) -> None:
        self._importer = importer
        self._machine = machine
        self._waiting = list(kernels.values())
        self._functions: dict[Spec, Native] = {}

    def install(self) -> None:
        """Make the importer ask for kernels here."""
        importer = self._importer
        convert, check = importer._convert_operator, importer._check_for_unsupported_ops

        def converted(op_name: str, inputs: Native, attrs: Native, opset: int) -> Native:
            if op_name != OP:
                return convert(op_name, inputs, attrs, opset)
            return self._call(self._waiting.pop(0), list(inputs), attrs["tvm_custom"]["name"])

        def checked(graph: onnx.GraphProto) -> None:
            check(onnx.GraphProto(node=[n for n in graph.node if n.op_type != OP]))

        importer._convert_operator, importer._check_for_unsupported_ops = converted, checked

    def _call(self, kernel: Kernel, inputs: list[Native], name: str) -> Native:
        if isinstance(kernel.spec, Pack):
            inputs = [self._shaped(inputs[0], kernel.spec.layout.dims, kernel.spec.dtype)]
        axes = [kernel.out] if isinstance(kernel.out, int) else list(kernel.out)
        constants = [relax.const(c) for c in kernel.constants]
        out = relax.TensorType([inputs[0].ty.shape[0], *axes], kernel.dtype)
        call = relax.call_tir(self._function(kernel.spec), [*inputs, *constants], out)
        return self._importer.bb.emit(call, name_hint=name)

    def _shaped(self, value: Native, dims: tuple[int, ...], dtype: str) -> Native:
        """Return a plain tensor with the axes that the graph says it has."""
        builder = self._importer.bb
        shape = getattr(builder.normalize(value).ty, "shape", None)
        if isinstance(shape, relax.ShapeExpr):
            sizes = [getattr(axis, "value", None) for axis in shape.values]
            if sizes[1:] == [*dims]:
                return value
        batch = tirx.Var("batch", "int64")
        return builder.match_cast(value, relax.TensorType([batch, *dims], dtype))

    def _function(self, spec: Spec) -> Native:
        if spec not in self._functions:
            kind = type(spec).__name__.lower()
            function = tunable(_described(spec), lambda: spec.function(self._machine))
            function = function.with_attr(_KERNEL, f"integer {kind}")
            function = function.with_attr(_SCHEDULE, "integer")
            self._functions[spec] = self._importer.bb.add_func(function, f"integer_{kind}")
        return self._functions[spec]
