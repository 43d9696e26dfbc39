"""The program that compiles one library: ``python -m bmopt.backends.tvm.worker SPEC.json``.

A process of its own, because a compiler may crash, hang, or take all the memory, and prints what
it likes. It says how far it is on standard output, and how it ended in the spec's outcome file.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from typing import TextIO

import onnx

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.build_spec import BuildOutcome, BuildSpec
from bmopt.backends.tvm.fusion_trace import FusionTrace
from bmopt.backends.tvm.importing import (
    Native,
    aliases_of,
    line_of,
    ports_of,
    read_proto,
    require_supported,
    supported_ops,
)
from bmopt.backends.tvm.kernels import kernels_of
from bmopt.backends.tvm.names import Signature
from bmopt.backends.tvm.pipeline import executable, imported, lowered, write_library
from bmopt.core.engine import Kernel
from bmopt.errors import BuildError, HostError, ModelError

_STEPS = 4


def main(path: Path) -> None:
    """Compile what the spec in the file ``path`` asks for."""
    spec = BuildSpec.from_json(path.read_text(encoding="utf-8"))
    try:
        outcome = build(spec, _own_stdout())
    except (BuildError, HostError, ModelError) as error:
        kind = HostError if isinstance(error, HostError) else BuildError
        outcome = BuildOutcome(error=kind.__name__, message=str(error))
    spec.outcome.write_text(outcome.to_json(), encoding="utf-8")


def _own_stdout() -> TextIO:
    """Return standard output, and send what TVM prints there to standard error."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def build(spec: BuildSpec, progress: TextIO) -> BuildOutcome:
    """Write the library.

    Raises:
        BuildError: The importer or the compiler refuses the model.
        HostError: TVM does not work here.
    """
    start_ns = time.monotonic_ns()
    told: list[str] = []
    warnings.simplefilter("ignore")  # of names and opsets, which are looked at here
    tvm = probe.load()
    model = read_proto(spec.graph)
    require_supported(model, supported_ops())
    target = tvm.target.Target(spec.target)
    _tell(progress, 0)
    module = imported(spec.graph, model, spec.precision, target, told.append)
    _tell(progress, 1)
    trace = FusionTrace(aliases_of(module))
    module = lowered(module, target, trace, told.append)
    kernels = _described(module, trace, model.graph, told)
    _tell(progress, 2)
    built = executable(module, target, _signature(spec, model, str(tvm.__version__)))
    _tell(progress, 3)
    write_library(built, spec.out, spec.compiler)
    _tell(progress, _STEPS)
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    return BuildOutcome(str(tvm.__version__), seconds, kernels=kernels, warnings=tuple(told))


def _described(
    module: Native, trace: FusionTrace, graph: onnx.GraphProto, told: list[str]
) -> tuple[Kernel, ...]:
    try:
        return kernels_of(module, trace, graph)
    except Exception as error:
        # A library is none the worse for it.
        told.append(f"which nodes its functions stand for cannot be told: {line_of(error)}")
        return ()


def _signature(spec: BuildSpec, model: onnx.ModelProto, version: str) -> Signature:
    return Signature(
        inputs=ports_of(model.graph.input),
        outputs=ports_of(model.graph.output),
        architecture=spec.architecture,
        flags=spec.flags,
        version=version,
    )


def _tell(progress: TextIO, done: int) -> None:
    progress.write(f"{done} {_STEPS}\n")
    progress.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
