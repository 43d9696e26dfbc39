"""From an ONNX file to a relax module: checked first, names kept, every node found again later."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.imported_ops import STANDARD_DOMAINS, imports_op
from bmopt.backends.tvm.names import MAIN, Port
from bmopt.errors import BuildError

Native = Any
"""A value of TVM's own, which has no types."""

ALIASES = "bmopt.nodes"
"""Attribute of ``main``: variables that hold a node's output under another name, as JSON."""

MARK = "onnx_"
"""What the names of relax variables begin with that hold a node's output; its index follows.

And something that is no digit: a builder adds digits to a name that it has given already.
"""


def mark_of(index: int) -> str:
    """Return the name of the variable that holds the output of the node at ``index``."""
    return f"{MARK}{index}_"


_FRONTEND = "tvm.relax.frontend.onnx.onnx_frontend"
_TAKE_SHAPES = ("Concat", "ConstantOfShape", "Expand", "Reshape")
"""Ops whose importers read a shape that is made of symbols."""

_BESIDE_TABLE = ("If", "Constant")
"""Ops that it imports without an entry in its table."""


def read_proto(path: Path) -> onnx.ModelProto:
    """Return the model in a file with its weights, its inputs being what has to be fed.

    Raises:
        BuildError: An input is no tensor, or its rank is not known.
    """
    model = onnx.load(str(path))
    weights = {tensor.name for tensor in model.graph.initializer}
    fed = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(fed)
    for value in model.graph.input:
        _name_axes(value)
    return model


def _name_axes(value: onnx.ValueInfoProto) -> None:
    """Give dynamic axes without a symbol one of their own, so that they are not taken for one."""
    kind = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        raise BuildError(f"input {value.name!r} is no tensor; TVM targets take tensors only")
    if not kind.HasField("shape"):
        raise BuildError(
            f"input {value.name!r} has no declared rank; give it sizes with --shapes "
            f"{value.name}:1x3x224x224"
        )
    for index, axis in enumerate(kind.shape.dim):
        if axis.dim_value > 0:
            continue
        symbol = f"{value.name}_{index}" if axis.dim_param in ("", "?") else axis.dim_param
        # The importer takes a symbol with a sign in it for a sum to work out.
        axis.dim_param = re.sub(r"\W|^(?=\d)", "_", symbol)


def supported_ops() -> frozenset[str]:
    """Return the names of ops that TVM's importer has in its table."""
    frontend = probe.load(_FRONTEND)
    return frozenset((*frontend._get_convert_map(), *_BESIDE_TABLE))


def require_supported(model: onnx.ModelProto, supported: frozenset[str]) -> None:
    """Check every op, those of branches too, before anything is compiled.

    Raises:
        BuildError: Some are not supported; the message names them all.
    """
    missing: dict[str, str] = {}
    counts: dict[str, int] = {}
    for node in _nodes(model.graph.node):
        if _is_supported(node, supported):
            continue
        name = ".".join(filter(None, (node.domain, node.op_type)))
        counts[name] = counts.get(name, 0) + 1
        missing.setdefault(name, node.name or node.output[0])
    if missing:
        listed = ", ".join(
            f"{op} ({counts[op]}, first {first!r})" for op, first in missing.items()
        )
        raise BuildError(
            f"TVM's importer has no {listed}; use a target of ONNX Runtime (ort-...), or export "
            "the model without these ops"
        )


def _is_supported(node: onnx.NodeProto, supported: frozenset[str]) -> bool:
    return node.op_type in supported and imports_op(node.domain, node.op_type)


def _nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nodes(graph.node)


def import_model(model: onnx.ModelProto) -> Native:
    """Return the relax module of a model, its weights being constants in it.

    Its function ``main`` takes the inputs in order and returns a tuple of the outputs in order.
    A variable ``onnx_N_`` holds the first output of the node with index N. Names in the model
    that are not valid in relax matter to nobody: the nodes get others for the import.

    Raises:
        BuildError: The importer refuses a node.
    """
    original = [node.name or node.output[0] for node in model.graph.node]
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    for index, node in enumerate(renamed.graph.node):
        node.name = mark_of(index)
    shapes = {mark_of(i) for i, node in enumerate(model.graph.node) if is_shape(node, model)}
    importer = named_importer({mark_of(i): name for i, name in enumerate(original)}, shapes)
    opset = max((o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS), default=1)
    with _refusals(original, _advice(model)):
        module = importer.from_onnx(renamed.graph, opset)
    aliases = {**importer.aliases, **output_aliases(module)}
    module[MAIN] = module[MAIN].with_attr(ALIASES, json.dumps(aliases))
    return as_tuple(module)


@contextlib.contextmanager
def _refusals(names: Sequence[str], advice: str) -> Iterator[None]:
    """Raise what the importer raises as an error with the nodes' own ``names`` in it."""
    try:
        yield
    except BuildError as error:
        raise BuildError(f"{error}{advice}") from error
    except Exception as error:
        # The importer raises what comes, from assertions to its own kinds.
        said = re.sub(rf"\b{MARK}(\d+)_", lambda found: repr(names[int(found[1])]), line_of(error))
        raise BuildError(f"TVM's importer refuses the model: {said}{advice}") from error


def _advice(model: onnx.ModelProto) -> str:
    """Return what may help where the importer refuses a model; empty for fixed sizes."""
    for port in ports_of(model.graph.input):
        if any(isinstance(axis, str) for axis in port.shape or ()):
            sizes = "x".join(
                str(axis if isinstance(axis, int) else 1) for axis in port.shape or ()
            )
            return f"; fixed sizes may help: --shapes {port.name}:{sizes}"
    return ""


def is_shape(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether all that reads a node's output takes a shape where it has to do with shapes."""
    if node.op_type != "Gather" or any(o.name in node.output for o in model.graph.output):
        return False
    readers = [one for one in model.graph.node if set(one.input) & set(node.output)]
    return bool(readers) and all(one.op_type in _TAKE_SHAPES for one in readers)


def line_of(error: BaseException) -> str:
    """Return the last line of what TVM says, which has the reason; traces come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith("File ")]
    return told[-1] if told else type(error).__name__


def named_importer(names: Mapping[str, str], shapes: Collection[str]) -> Native:
    """Return TVM's importer, made to name what it emits, and the node that it refuses.

    Its own ``Gather`` forgets the symbols of a shape when several sizes are taken from it, and
    all that is computed then has no known shape any more.

    Args:
        names: Name of a node in the graph that is imported -> its own name.
        shapes: Those that may give a shape instead of a tensor.
    """
    frontend, relax = probe.load(_FRONTEND), probe.load("tvm.relax")

    class Importer(frontend.ONNXGraphImporter):  # type: ignore[misc, name-defined] # untyped
        def __init__(self) -> None:
            super().__init__({}, None)
            self.aliases: dict[str, str] = {}

        def _convert_operator(
            self, op_name: str, inputs: Native, attrs: dict[str, Native], opset: int
        ) -> Native:
            name = attrs["tvm_custom"]["name"]
            if name in shapes and (sizes := _gathered(*inputs[:2])) is not None:
                return relax.ShapeExpr(sizes)
            try:
                found = super()._convert_operator(op_name, inputs, attrs, opset)
            except Exception as error:
                raise BuildError(
                    f"TVM's importer refuses node {names.get(name, name)!r} ({op_name}): "
                    f"{line_of(error)}"
                ) from error
            if name not in names:
                return found  # of a branch
            if isinstance(found, relax.Var):
                self.aliases[str(found.name)] = name
            is_tensor = isinstance(found, relax.Call) and isinstance(found.ty, relax.TensorType)
            return self.bb.emit(found, name_hint=name) if is_tensor else found

    return Importer()


def output_aliases(module: Native) -> dict[str, str]:
    """Return the variables that are a node's output under the name of an output of ``main``."""
    relax = probe.load("tvm.relax")
    bindings = [binding for block in module[MAIN].body.blocks for binding in block.bindings]
    return {
        str(binding.var.name): str(binding.value.name)
        for binding in bindings
        if isinstance(binding.value, relax.Var)
    }


def _gathered(data: Native, indices: Native) -> list[Native] | None:
    """Return the sizes that constant indices take from a shape, None where they do not."""
    relax, ir = probe.load("tvm.relax"), probe.load("tvm.ir")
    if not isinstance(data, relax.ShapeExpr) or not isinstance(indices, ir.GenericConst):
        return None
    positions = indices.value.numpy()
    return [data.values[int(one)] for one in positions] if positions.ndim == 1 else None


def aliases_of(module: Native) -> dict[str, str]:
    """Return variable of ``main`` -> the mark of the node whose output it holds."""
    attributes = module[MAIN].attrs
    text = attributes.get(ALIASES) if attributes else None
    return {} if text is None else dict(json.loads(str(text)))


def as_tuple(module: Native) -> Native:
    """Return ``module`` with a ``main`` that returns a tuple, also where it has one output."""
    relax, ir = probe.load("tvm.relax"), probe.load("tvm.ir")
    main = module[MAIN]
    if isinstance(main.ret_ty, ir.TupleType):
        return module
    sequence = relax.SeqExpr(main.body.blocks, relax.Tuple([main.body.body]))
    kind = ir.TupleType([main.ret_ty])
    module[MAIN] = relax.Function(main.params, sequence, kind, main.is_pure, main.attrs)
    return relax.transform.Normalize()(module)


def ports_of(values: Sequence[onnx.ValueInfoProto]) -> tuple[Port, ...]:
    """Return names, element types and shapes of inputs or outputs."""
    return tuple(map(_port, values))


def _port(value: onnx.ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    dtype = np.dtype(ir.DataType(kind.elem_type).numpy()).name if kind.elem_type else ""
    if not kind.HasField("shape"):
        return Port(value.name, dtype, None)
    axes = (
        a.dim_param or (a.dim_value if a.HasField("dim_value") else "?") for a in kind.shape.dim
    )
    return Port(value.name, dtype, tuple(axes))
