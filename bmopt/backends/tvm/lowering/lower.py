"""From an imported module to one whose kernels are fast on a CPU without tuning."""

from __future__ import annotations

import contextlib

import tvm
from tvm import relax

from bmopt.backends.tvm.lowering.constants import with_constants
from bmopt.backends.tvm.lowering.copying import replaced, used_vars
from bmopt.backends.tvm.lowering.fallback import scheduled
from bmopt.backends.tvm.lowering.legalizing import legalize_map
from bmopt.backends.tvm.lowering.machine import Machine, machine_of
from bmopt.backends.tvm.lowering.reading import NotStraightError
from bmopt.backends.tvm.lowering.rewriting import Rewriter
from bmopt.backends.tvm.lowering.stmts import Native
from bmopt.backends.tvm.lowering.values import Values

ENTRY = "main"


def lower(mod: Native, target: Native, *, threads: int) -> Native:
    """Return ``mod`` with scheduled functions in place of its operators.

    Convolutions, fully connected layers, pools and what is elementwise around them become kernels
    of this package, in blocks of channels and with packed weights. TVM lowers and fuses the rest,
    whose loops are then made vectors and, with more than one thread, parallel.

    Args:
        mod: An imported module, its parameters bound as constants; the batch may be a symbol.
        target: A target of TVM whose code runs on a CPU.
        threads: Threads that the model will run on.
    """
    machine = machine_of(target, threads)
    with target:
        mod = _prepared(mod)
        # With branches and the like, the whole function takes TVM's way.
        with contextlib.suppress(NotStraightError):
            mod = rewritten(mod, machine)
        mod = _legalised(mod)
    return scheduled(mod, machine)


def rewritten(mod: Native, machine: Machine) -> Native:
    """Return a module with a rewritten entry.

    Raises:
        NotStraightError: The entry has control flow.
    """
    function = mod[ENTRY]
    bindings = [one for block in function.body.blocks for one in block.bindings]
    if not all(isinstance(one, relax.VarBinding) for one in bindings):
        raise NotStraightError("a binding that casts")
    builder = relax.BlockBuilder()
    functions = {}
    for name, other in mod.functions.items():
        if name.name_hint != ENTRY:
            functions[name.name_hint] = builder.add_func(other, name.name_hint)
    values = Values(builder, machine)
    attributes = dict(function.attrs.items())
    attributes.pop("global_symbol", None)
    straight = function.body.body
    with builder.function(ENTRY, list(function.params), attributes):
        with builder.dataflow():
            for parameter in function.params:
                values.put_plain(parameter, parameter)
            Rewriter(mod, values, functions).run(bindings, list(used_vars(straight)))
            output = builder.emit_output(replaced(straight, values.plain, functions))
        builder.emit_func_output(output)
    return _clean(builder.get())


def _prepared(mod: Native) -> Native:
    mod = relax.transform.Normalize()(mod)
    mod = with_constants(relax.transform.DecomposeOpsForInference()(mod), ENTRY)
    return tvm.transform.Sequential(
        [
            relax.transform.ConvertToDataflow(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
            relax.transform.FoldConstant(),
            relax.transform.CanonicalizeBindings(),
            relax.transform.DeadCodeElimination(),
        ]
    )(mod)


def _clean(mod: Native) -> Native:
    return tvm.transform.Sequential(
        [relax.transform.CanonicalizeBindings(), relax.transform.DeadCodeElimination()]
    )(mod)


def _legalised(mod: Native) -> Native:
    return tvm.transform.Sequential(
        [
            relax.backend.DispatchSampling(),
            relax.backend.DispatchSortScan(),
            relax.transform.LegalizeOps(legalize_map()),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(),
        ]
    )(mod)
