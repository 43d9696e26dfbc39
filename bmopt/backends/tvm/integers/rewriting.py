"""Replace what a Q/DQ graph computes in 8 bits by nodes that stand for integer kernels.

The kernels' nodes are added beside the graph's own, with results of their own; what only served
the replaced nodes is dropped at the end. A quantised value that anything else still reads gets a
node that makes a plain tensor of it, dequantised where that is what is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from bmopt.backends.tvm.integers.borders import Layout, Pack, Unpack
from bmopt.backends.tvm.integers.chains import Chain, chain_to
from bmopt.backends.tvm.integers.emitting import Output
from bmopt.backends.tvm.integers.followers import Found, follower_kernel, table
from bmopt.backends.tvm.integers.kernel import Kernel
from bmopt.backends.tvm.integers.machine import Machine
from bmopt.backends.tvm.integers.movers import mover_kernel
from bmopt.backends.tvm.integers.products import operands, product_kernel
from bmopt.backends.tvm.integers.reading import Encoding, Stored, dims_of, encoding_of
from bmopt.backends.tvm.integers.window import stored_channels
from bmopt.graph.values import is_op, producer_of

DOMAIN = "bmopt.integers"
OP = "BmoptInteger"
"""Domain and type of the nodes that stand for kernels."""

_PRODUCTS = ("Conv", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """A graph with integer kernels.

    Attributes:
        model: The graph; its kernels' nodes have the op type ``OP``.
        kernels: Name of the result of such a node -> its kernel.
        replaced: Name of the result of such a node -> names of the nodes it computes.
    """

    model: ir.Model
    kernels: dict[str, Kernel]
    replaced: dict[str, tuple[str, ...]]


def rewrite(model: ir.Model, machine: Machine) -> Rewritten:
    """Return a copy of a Q/DQ graph in which integer kernels compute what they can.

    What cannot be computed in integers stays as it is.
    """
    copy = model.clone()
    ShapeInferencePass()(copy)
    rewriter = _Rewriter(copy, machine)
    rewriter.map_nodes()
    rewriter.read_plainly()
    RemoveUnusedNodesPass()(copy)
    copy.graph.opset_imports.setdefault(DOMAIN, 1)
    return Rewritten(copy, rewriter.kernels, rewriter.replaced)


class _Rewriter:
    def __init__(self, model: ir.Model, machine: Machine) -> None:
        self._graph = model.graph
        self._machine = machine
        self._stored: dict[ir.Value, Stored] = {}
        self._floats: dict[ir.Value, ir.Value] = {}
        self._plain: set[ir.Value] = set()
        self.kernels: dict[str, Kernel] = {}
        self.replaced: dict[str, tuple[str, ...]] = {}

    def map_nodes(self) -> None:
        """Add a kernel's node for every result that one can compute, in the graph's order."""
        for node in tuple(self._graph):
            if any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
                continue
            if is_op(node, "QuantizeLinear"):
                self._quantised(node)
            elif node.inputs and node.inputs[0] in self._stored:
                if not is_op(node, "DequantizeLinear"):
                    self._moved(node, self._stored[node.inputs[0]])
            elif is_op(node, *_PRODUCTS):
                self._float_product(node)

    def _quantised(self, node: ir.Node) -> None:
        encoding = encoding_of(node)
        if encoding is None:
            return
        chain = chain_to(node)
        found = self._computed(chain, encoding)
        if found is not None:
            kernel, layout, sources = found
            value = self._add(node, kernel, sources, chain.members)
            self._stored[node.outputs[0]] = Stored(value, encoding, layout)
        else:
            self._packed(node, node.inputs[0], encoding, "float32")

    def _computed(
        self, chain: Chain, encoding: Encoding
    ) -> tuple[Kernel, Layout, Sequence[ir.Value]] | None:
        """Return the kernel of what a chain computes from stored values alone, and its inputs."""
        core, machine = chain.core, self._machine
        if core is None or core.domain not in ("", "ai.onnx"):
            return None
        found: Found | None
        if is_op(core, "DequantizeLinear"):
            source = self._source(core.outputs[0])
            if source is None:
                return None
            found = table(source, encoding, chain, lambda x: x, machine)
            return (*found, [source.value])
        sources = [self._source(v) for v in core.inputs[: 1 if is_op(core, *_PRODUCTS) else None]]
        stored = [s for s in sources if s is not None]
        if not stored or len(stored) < len(sources):
            return None
        if is_op(core, *_PRODUCTS):
            output = encoding.output(machine, chain.low, chain.high)
            found = self._product(core, stored[0], chain.bias, output, encoding.scale)
        else:
            found = follower_kernel(core, stored, encoding, chain, machine)
        if found is None:
            return None
        return (*found, found[0].inputs or [s.value for s in stored])

    def _product(
        self, core: ir.Node, source: Stored, bias: ir.Value | None, output: Output, step: float
    ) -> Found | None:
        constants = operands(core, source, bias)
        if constants is None:
            return None
        return product_kernel(constants, source, output, step, self._machine)

    def _source(self, value: ir.Value | None) -> Stored | None:
        """Return the stored tensor that a DQ node makes ``value`` of, if it is one."""
        node = producer_of(value, "DequantizeLinear")
        stored = None if node is None else self._stored.get(node.inputs[0])  # type: ignore[arg-type]
        if node is None or stored is None or encoding_of(node) != stored.encoding:
            return None
        return stored

    def _moved(self, node: ir.Node, source: Stored) -> None:
        """Move a stored tensor; where no kernel does, on a plain one that is stored again."""
        if node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
            return
        out = node.outputs[0]
        found = mover_kernel(node, source, self._machine)
        if found is None:
            if out.dtype in (None, node.inputs[0].dtype):  # type: ignore[union-attr]
                self._packed(node, out, source.encoding, source.encoding.dtype)
                self._plain.add(out)
            return
        kernel, layout = found
        value = source.value
        if kernel is not None:
            value = self._add(node, kernel, [source.value], (node,))
        self._stored[out] = Stored(value, source.encoding, layout)

    def _packed(
        self, node: ir.Node, value: ir.Value | None, encoding: Encoding, dtype: str
    ) -> None:
        """Store a plain tensor: a float one that ``node`` quantises, or what ``node`` moved."""
        dims = None if value is None else dims_of(value)
        if value is None or dims is None or value.const_value is not None:
            return
        layout = Layout(dims, 0)
        layout = dataclasses.replace(layout, channels=stored_channels(layout.depth))
        spec = Pack(layout, dtype, encoding.scale, encoding.output(self._machine))
        kernel = Kernel(spec, (), layout.size, self._machine.stored)
        members = (node,) if dtype == "float32" else ()
        stored = self._add(node, kernel, [value], members)
        self._stored[node.outputs[0]] = Stored(stored, encoding, layout)

    def _float_product(self, node: ir.Node) -> None:
        """Compute a product in integers whose result is read in float."""
        source = self._source(node.inputs[0])
        if source is None or self._is_rounded(node):
            return
        found = self._product(node, source, None, Output("float32"), 1.0)
        if found is None:
            return
        kernel, layout = found
        sums = self._add(node, kernel, [source.value], (node,))
        plain = Kernel(Unpack(layout, "float32", "float32"), (), layout.dims, "float32")
        behind = sums.producer()
        assert behind is not None
        value = self._add(behind, plain, [sums], ())
        self._floats[node.outputs[0]] = value

    def _is_rounded(self, node: ir.Node) -> bool:
        """Whether a QuantizeLinear is all that reads the result, so that its kernel rounds it."""
        value = node.outputs[0]
        while not value.is_graph_output() and len(value.uses()) == 1:
            (use,) = value.uses()
            if is_op(use.node, "QuantizeLinear"):
                chain = chain_to(use.node)
                encoding = encoding_of(use.node)
                return encoding is not None and self._computed(chain, encoding) is not None
            if not is_op(use.node, "Relu", "Clip", "Add"):
                return False
            value = use.node.outputs[0]
        return False

    def read_plainly(self) -> None:
        """Give everything that still reads quantised values plain tensors to read."""
        live = self._live()
        for value, stored in self._stored.items():
            if value in live and value not in self._plain:
                self._read_plainly(value, stored, live)
        for old, new in self._floats.items():
            _take_place(old, new)

    def _read_plainly(self, value: ir.Value, stored: Stored, live: set[ir.Value]) -> None:
        node = stored.value.producer()
        assert node is not None
        users = [use.node for use in value.uses() if set(use.node.outputs) & live]
        real = [
            user
            for user in users
            if is_op(user, "DequantizeLinear") and encoding_of(user) == stored.encoding
        ]
        for user in real:
            _take_place(user.outputs[0], self._unpacked(node, stored, "float32", (user,)))
        if len(real) < len(users) or value.is_graph_output():
            _take_place(value, self._unpacked(node, stored, stored.encoding.dtype, ()))

    def _unpacked(
        self, node: ir.Node, stored: Stored, dtype: str, members: tuple[ir.Node, ...]
    ) -> ir.Value:
        machine = self._machine
        encoding = stored.encoding
        spec = Unpack(stored.layout, machine.stored, dtype, encoding.scale, stored.zero(machine))
        kernel = Kernel(spec, (), stored.layout.dims, dtype)
        return self._add(node, kernel, [stored.value], members)

    def _live(self) -> set[ir.Value]:
        """Return the values that the outputs depend on, kernels computing what they can."""
        live: set[ir.Value] = set()
        waiting = list(self._graph.outputs)
        while waiting:
            value = waiting.pop()
            if value in live:
                continue
            live.add(value)
            other = None if value in self._plain else self._stored.get(value)
            now = other.value if other is not None else self._floats.get(value, value)
            node = now.producer()
            if node is not None:
                waiting += [v for v in _read_by(node) if v is not None]
        return live

    def _add(
        self,
        behind: ir.Node,
        kernel: Kernel,
        inputs: Sequence[ir.Value],
        members: Sequence[ir.Node],
    ) -> ir.Value:
        """Add a kernel's node behind another; return its result."""
        name = f"bmopt_integer_{len(self.kernels)}"
        value = ir.Value(name=name)
        node = ir.Node(DOMAIN, OP, list(inputs), outputs=[value], name=name)
        self._graph.insert_after(behind, node)
        self.kernels[name] = kernel
        self.replaced[name] = tuple(m.name or "" for m in members)
        return value


def _read_by(node: ir.Node) -> list[ir.Value | None]:
    """Return what a node reads, in its sub-graphs too."""
    found = list(node.inputs)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found += [v for inner in attribute.as_graph().all_nodes() for v in inner.inputs]
    return found


def _take_place(old: ir.Value, new: ir.Value) -> None:
    """Let ``new`` be read instead of ``old``, as an output of the graph under its name."""
    if old.is_graph_output():
        name = old.name
        new.type, new.shape = old.type, old.shape
        old.name = f"{name}_replaced"
        new.name = name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
