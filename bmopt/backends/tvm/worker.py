"""The program that compiles one library: ``python -m bmopt.backends.tvm.worker SPEC.json``.

A process of its own, because a compiler may crash, hang, or take all the memory, and prints what
it likes. It says how far it is on standard output, and how it ended in the spec's outcome file.
"""

from __future__ import annotations

import dataclasses
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
from bmopt.backends.tvm.tuning.decisions import writing
from bmopt.backends.tvm.tuning.session import compared_libraries, database_of, described, tuned
from bmopt.backends.tvm.tuning.tasks import Chosen, KernelWriter, nothing
from bmopt.backends.tvm.tuning.timing import Comparison
from bmopt.backends.tvm.tuning.tuner import Tuned
from bmopt.core.build_child import own_stdout, tell
from bmopt.core.engine import Kernel
from bmopt.errors import BmoptError, BuildError, ModelError

_STEPS = 4


def main(path: Path) -> None:
    """Compile what the spec in the file ``path`` asks for."""
    spec = BuildSpec.from_json(path.read_text(encoding="utf-8"))
    try:
        outcome = build(spec, own_stdout())
    except BmoptError as error:
        kind = BuildError if isinstance(error, ModelError) else type(error)
        outcome = BuildOutcome(error=kind.__name__, message=str(error))
    spec.outcome.write_text(outcome.to_json(), encoding="utf-8")


def build(spec: BuildSpec, progress: TextIO) -> BuildOutcome:
    """Write the library.

    Raises:
        BuildError: The importer or the compiler refuses the model.
        HostError: TVM does not work here, or kernels cannot be measured.
        DatabaseError: The tuning database is none.
    """
    start_ns = time.monotonic_ns()
    warnings.simplefilter("ignore")  # of names and opsets, which are looked at here
    tvm = probe.load()
    model = read_proto(spec.graph)
    require_supported(model, supported_ops())
    job = _Job(spec, model, tvm.target.Target(spec.target), str(tvm.__version__))
    database = database_of(spec, job.version)
    tuning = tuned(spec, database, job.lowered, progress)
    chosen = nothing if database is None else database.chosen
    kernels, told = job.library(spec.out, chosen, progress)
    text = ""
    if tuning is not None:
        whole = _whole(job, tuning)
        if whole is not None and whole.low > 1.0:
            kernels, told = job.library(spec.out, nothing, progress)
            told = (*told, "tuned schedules are left out, as they make the whole model slower")
        text = f"{tuning}{described(whole)}"
        told = (*tuning.warnings, *told)
    seconds = (time.monotonic_ns() - start_ns) / 1e9
    return BuildOutcome(job.version, seconds, kernels=kernels, warnings=told, tuning=text)


def _whole(job: _Job, tuning: Tuned) -> Comparison | None:
    """Return how a tuned library compares with one that is not, None where that is not seen."""
    if not tuning.improved or not job.spec.compiler or job.spec.board:
        return None
    default = job.spec.out.with_name(f"default-{job.spec.out.name}")
    try:
        job.library(default, nothing, None)
        return compared_libraries(job.spec, default, job.spec.out)
    finally:
        default.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What libraries of one model are made of."""

    spec: BuildSpec
    model: onnx.ModelProto
    target: Native
    version: str

    def lowered(self) -> Native:
        """Return the lowered module; what to warn of is told when a library is made of it."""
        told: list[str] = []
        module = imported(
            self.spec.graph, self.model, self.spec.precision, self.target, told.append
        )
        return lowered(module, self.target, FusionTrace(aliases_of(module)), told.append)

    def library(
        self, out: Path, chosen: Chosen, progress: TextIO | None
    ) -> tuple[tuple[Kernel, ...], tuple[str, ...]]:
        """Write a library with ``chosen`` schedules; return its kernels, and what to warn of."""
        spec, target = self.spec, self.target
        told: list[str] = []
        _tell(progress, 0)
        with writing(KernelWriter(chosen)):
            module = imported(spec.graph, self.model, spec.precision, target, told.append)
            _tell(progress, 1)
            trace = FusionTrace(aliases_of(module))
            module = lowered(module, target, trace, told.append)
        kernels = _described(module, trace, self.model.graph, told)
        _tell(progress, 2)
        built = executable(module, target, _signature(spec, self.model, self.version))
        _tell(progress, 3)
        write_library(built, out, spec.compiler)
        _tell(progress, _STEPS)
        return kernels, tuple(told)


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


def _tell(progress: TextIO | None, done: int) -> None:
    if progress is not None:
        tell(progress, done, _STEPS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
