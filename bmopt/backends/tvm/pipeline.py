"""A relax module, lowered: to scheduled functions, to the virtual machine, to a library."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.fusion_trace import FusionTrace
from bmopt.backends.tvm.importing import Native, as_tuple, import_model, line_of
from bmopt.backends.tvm.names import FUNCTION, Signature
from bmopt.errors import BuildError
from bmopt.graph.model_io import load_model

_LEVEL = 3
_CPU_PIPELINE = "tvm.relax.backend.cpu_generic.pipeline"

Warn = Callable[[str], None]


def imported(
    path: Path, model: onnx.ModelProto, precision: str, target: Native, warn: Warn
) -> Native:
    """Return the relax module of a model; Q/DQ become integers where the target is in 8 bits.

    Raises:
        BuildError: The importer refuses a node.
    """
    if precision != "int8":
        return import_model(model)
    try:
        from bmopt.backends.tvm.integers import import_integers

        return as_tuple(import_integers(load_model(path), target))
    except Exception as error:
        # Whatever stands in the way of integers, the graph is computed right in float.
        warn(f"Q/DQ nodes are computed in float, as no integers come of them: {line_of(error)}")
        return import_model(model)


def lowered(module: Native, target: Native, trace: FusionTrace, warn: Warn) -> Native:
    """Return a module whose ``main`` calls scheduled functions only.

    Raises:
        BuildError: TVM's own passes fail on it.
    """
    with context(target, trace):
        try:
            from bmopt.backends.tvm.lowering import lower

            return lower(module, target, threads=int(target.attrs.get("num-cores", 1)))
        except Exception as error:
            # TVM's own way is slow, but it is there.
            warn(f"functions are scheduled as TVM does, which is slow: {line_of(error)}")
            trace.forget()
        with _refusals("lower"):
            return _default(module, target)


def _default(module: Native, target: Native) -> Native:
    passes = probe.load(_CPU_PIPELINE)
    steps = [*passes.library_dispatch_passes(target), *passes.legalize_passes(target)]
    first = probe.load("tvm.relax").transform.DecomposeOpsForInference()
    return probe.load("tvm").transform.Sequential([first, *steps])(module)


def executable(module: Native, target: Native, signature: Signature) -> Native:
    """Return the virtual machine's executable of a lowered module, with its signature in it.

    Raises:
        BuildError: TVM's code generator fails on it.
    """
    tvm, passes = probe.load("tvm"), probe.load(_CPU_PIPELINE)
    steps = [*passes.dataflow_lower_passes(target), *passes.finalize_passes(target)]
    module = _with_signature(module, signature)
    with _refusals("compile"), context(target, None):
        module = tvm.transform.Sequential(steps)(module)
        return tvm.compile(module, target, relax_pipeline=None)


def _with_signature(module: Native, signature: Signature) -> Native:
    relax, ir = probe.load("tvm.relax"), probe.load("tvm.ir")
    text = ir.StringImm(signature.to_json())
    function = relax.Function([], text, relax.AnyType())
    module[ir.GlobalVar(FUNCTION)] = function.with_attr("global_symbol", FUNCTION)
    return module


def write_library(built: Native, out: Path, compiler: str) -> None:
    """Write a shared library, or the objects of one where there is no ``compiler`` to link them.

    Raises:
        BuildError: The linker fails.
    """
    with _refusals("link"):
        if not compiler:
            built.export_library(str(out))
            return
        built.export_library(
            str(out),
            fcompile=probe.load("tvm.support.cc").cross_compiler(compiler, options=["-s"]),
        )


@contextlib.contextmanager
def context(target: Native, trace: FusionTrace | None) -> Iterator[None]:
    """Run passes for ``target``, watched by ``trace``."""
    instruments = [] if trace is None else [trace.instrument()]
    config = probe.load("tvm").transform.PassContext(opt_level=_LEVEL, instruments=instruments)
    with config, target:
        yield


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise BuildError(f"TVM does not {what} the model: {line_of(error)}") from error
