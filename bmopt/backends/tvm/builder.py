"""Compiles libraries in a child process, and says in one line what went wrong there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.build_spec import OBJECTS_SUFFIX, BuildOutcome, BuildSpec, check_options
from bmopt.backends.tvm.targets import HOST, compiler_for, device_for, package_of
from bmopt.backends.tvm.tuning.asked import database_folder, tuning_limit_s
from bmopt.core.build_child import Progress, build_apart, require_built
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.files import atomic_file
from bmopt.core.host import host_facts
from bmopt.core.target import Target
from bmopt.errors import HostError

ENGINE_NAME = "tvm"
"""What a manifest calls the engine."""

LIBRARY = "model.so"
OBJECTS = "model.tar"
"""Files of a compiled model; the second has the objects to link where nothing links here."""

_WORKER = "bmopt.backends.tvm.worker"


class TvmBuilder:
    """Compiles graphs into shared libraries."""

    engine_file = LIBRARY

    def build(
        self,
        graph: Path,
        out: Path,
        target: Target,
        options: BuildOptions,
        progress: Progress | None = None,
    ) -> EngineBuild:
        """Compile the ``.onnx`` file ``graph`` into the file ``out``.

        Where no compiler links for the device, objects are written beside ``out`` instead, as
        ``model.tar``, and a warning tells how to link them. ``progress`` is told (steps done,
        steps in all).

        Raises:
            BuildError: TVM refuses the model or the options; the message names the node.
            DatabaseError: The tuning database is none, or of another version.
            HostError: TVM is not installed or does not work here; kernels cannot be measured.
            IsolatedToolError: The build died or ran out of time.
            OutputError: ``out`` cannot be written.
            TargetError: TVM does not know the target.
            UsageError: What tuning may cost is not understood, or there is no place to measure.
        """
        check_options(target, options)
        if reason := probe.why_not():
            raise HostError(reason)
        limit_s = options.timeout_s + tuning_limit_s(target, options)
        with tempfile.TemporaryDirectory(prefix="bmopt-build-") as folder:
            spec, advice = _spec(graph, Path(folder), target, options)
            outcome = _run(spec, limit_s, progress)
            # What TVM exports is told by the suffix, which a scratch file has not.
            place = out if spec.compiler else out.with_suffix(OBJECTS_SUFFIX)
            with atomic_file(place) as scratch:
                shutil.copyfile(spec.out, scratch)
        return EngineBuild(
            engine=ENGINE_NAME,
            version=outcome.version,
            devices=_devices(target, spec),
            seconds=outcome.seconds,
            size_bytes=place.stat().st_size,
            kernels=outcome.kernels,
            warnings=(*outcome.warnings, *advice),
            tuning=outcome.tuning,
        )


def _spec(
    graph: Path, folder: Path, target: Target, options: BuildOptions
) -> tuple[BuildSpec, tuple[str, ...]]:
    """Return the build, and what to tell where nothing links for the device."""
    host = host_facts(query_gpus=str)
    device = device_for(target.device, host)
    compiler = compiler_for(device, host)
    spec = BuildSpec(
        graph=graph.absolute(),
        out=folder / (LIBRARY if compiler else OBJECTS),
        outcome=folder / "outcome.json",
        precision=target.precision,
        target=device.to_dict(),
        architecture=device.architecture,
        flags=device.flags,
        compiler=compiler,
        tune=options.tune,
        database=database_folder(options),
        board=options.board,
        measured_on=host.model if target.device in ("", HOST) else target.device,
    )
    if compiler:
        return spec, ()
    advice = (
        f"{OBJECTS} holds objects that are still to be linked, as there is no "
        f"{package_of(device)} here: unpack them on the device and run "
        f"'g++ -shared -fPIC -o {LIBRARY} *.o'"
    )
    return spec, (advice,)


def _devices(target: Target, spec: BuildSpec) -> tuple[str, ...]:
    """Return the device, and the processor that LLVM compiled for where it is this host."""
    name = target.device or "host"
    cpu = str(spec.target.get("mcpu", ""))
    return (name, cpu) if name == "host" and cpu else (name,)


def _run(spec: BuildSpec, timeout_s: float, progress: Progress | None) -> BuildOutcome:
    text = build_apart(
        _WORKER,
        spec.to_json(),
        spec.outcome,
        name="compiling with TVM",
        timeout_s=timeout_s,
        progress=progress,
    )
    outcome = BuildOutcome.from_json(text)
    require_built(outcome.error, outcome.message)
    return outcome
