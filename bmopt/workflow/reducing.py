"""``bmopt reduce``: the smallest part of a model on which a command still fails the same way."""

from __future__ import annotations

import dataclasses
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.core.files import atomic_file
from bmopt.core.isolate import Ending
from bmopt.errors import ModelError, UsageError
from bmopt.graph.extract import Region, Regions, extract
from bmopt.graph.model_io import load_model, require_not_source, save_model
from bmopt.workflow.check_command import CheckCommand, Failure, last_line
from bmopt.workflow.delta import failing_prefix, failing_suffix, minimal
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.recorder import record_apart
from bmopt.workflow.recording import Recording, write_arrays

_RECORDING_S = 120.0
"""Least seconds that running the whole model once, some tensors at a time, may take."""


@dataclasses.dataclass(frozen=True)
class Reduced:
    """What is left of a model.

    Attributes:
        out: The file it was written to.
        inputs_file: Values for its inputs, where the command asked for such.
        nodes_before: Nodes of the main graph. One with bodies is one; a Constant is none.
        nodes_after: Nodes that are left of it.
        ops: Op types of those, in topological order.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        checks: How often the command ran.
        failure: How the command fails on it.
        last_line: The last line that it prints then.
        interrupted: Whether the search was ended before its end.
    """

    out: Path
    inputs_file: Path | None
    nodes_before: int
    nodes_after: int
    ops: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    checks: int
    failure: str
    last_line: str
    interrupted: bool


def reduce_model(
    path: Path,
    check: CheckCommand,
    out: Path,
    *,
    data: str = "",
    keep_outputs: bool = False,
    progress: Progress | None = None,
) -> Reduced:
    """Write the smallest part of the model in ``path`` on which ``check`` fails the same way.

    First the graph is cut behind the first node with which it fails, then before the last one,
    then nodes are left out wherever they can be; of what is left, no node can be spared. ``out``
    has the best so far at all times.

    Args:
        path: The ``.onnx`` file.
        check: The command that fails on it.
        out: The ``.onnx`` file to write.
        data: A sample for the values and shapes of tensors where the graph is cut; random if
            empty.
        keep_outputs: Cut at inputs only, and keep all outputs.
        progress: Is told how far the search is, and what the user should know.

    Raises:
        ModelError: ``path`` is no model that can be run, or has no nodes.
        DataError: The samples do not fit.
        UsageError: The command does not fail on the whole model; or it asks for inputs and the
            model does not run; or ``out`` is the model.
        IsolatedToolError: The command cannot be started.
        OutputError: ``out`` cannot be written.
    """
    model = load_model(path)
    for file in (out, out.with_name(f"{out.name}.data")):
        require_not_source(model, file)
    told = progress or Quiet()
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        search = _Search(model, check, out, Path(folder), told)
        # Later where nothing can be wrong with the samples, and the first check asks for none.
        first = check.wants_inputs or bool(data)
        if first:
            search.recording = _record(model, path, data, check, Path(folder), told)
        search.start(path)
        if not first:
            search.recording = _record(model, path, data, check, Path(folder), told)
        interrupted = False
        try:
            search.run(keep_outputs=keep_outputs)
        except KeyboardInterrupt:
            interrupted = True
        return search.reduced(interrupted=interrupted)


def _record(
    model: ir.Model, path: Path, data: str, check: CheckCommand, folder: Path, progress: Progress
) -> Recording:
    """Record in a child process: what fails may be the engine that the model is run with."""
    progress.step("recording tensors")
    recording = record_apart(
        path,
        model,
        data,
        folder,
        keep_values=check.wants_inputs,
        timeout_s=max(check.timeout_s, _RECORDING_S),
    )
    if recording.problem and check.wants_inputs:
        raise UsageError(
            f"there are no values for {{inputs}}: {recording.problem}; leave {{inputs}} out, or "
            "name samples with --data"
        )
    if recording.problem:
        progress.warn(f"shapes at the cuts are inferred, not recorded: {recording.problem}")
    return recording


class _Search:
    """Tries regions of one model; the smallest that failed so far is in the output file.

    Attributes:
        recording: What is known of the tensors; needed before ``run``, and before ``start`` where
            the command asks for inputs.
    """

    def __init__(
        self,
        model: ir.Model,
        check: CheckCommand,
        out: Path,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._model = model
        self._check = check
        self._out = out
        self.recording = Recording({})
        self._candidate = scratch / "candidate.onnx"
        self._inputs = scratch / "inputs.npz"
        self._progress = progress
        self._regions = Regions(model)
        self._tried: dict[Region, bool] = {}
        self._checks = 0
        self._best: Region = self._regions.whole()
        self._failure = Failure(0)
        self._last_line = ""

    def start(self, path: Path) -> None:
        """Check the whole model, which has to fail, and note how it does."""
        self._progress.step("checking the whole model")
        if not self._best.nodes:
            raise ModelError(f"{path}: has no nodes to reduce")
        end = self._run(self._model, self._best)
        failure = self._check.failure(end)
        if failure is None:
            how = "runs out of time" if end.late else f"ends with {end.code}"
            said = f": {last_line(end)}" if last_line(end) else ""
            raise UsageError(
                f"{path}: the command {how} on the whole model, which is not the failure that is "
                f"looked for{said}"
            )
        self._failure = failure
        graph = self._model.graph
        all_values = tuple(
            tuple(str(v.name) for v in values) for values in (graph.inputs, graph.outputs)
        )
        if all_values == (self._best.inputs, self._best.outputs):
            self._tried[self._best] = True
        self._keep(self._model, self._best, end)

    def run(self, *, keep_outputs: bool) -> None:
        """Search until no node, and no output, can be left out."""
        wanted = self._regions.outputs if keep_outputs else None

        def fails(nodes: Sequence[str]) -> bool:
            return self._fails(self._regions.of(nodes, wanted))

        self._fails(self._regions.whole())
        if not keep_outputs:
            self._step("cutting outputs")
            nodes = failing_prefix(self._best.nodes, fails)
            fails(self._regions.above(nodes[-1], nodes))
        self._step("cutting inputs")
        nodes = failing_suffix(self._best.nodes, fails)
        fails(self._regions.below(nodes[0], nodes))
        self._step("leaving out nodes")
        minimal(self._best.nodes, fails, self._progress.advance)
        if not keep_outputs and len(self._best.outputs) > 1:
            self._step("leaving out outputs")
            nodes = list(self._best.nodes)
            minimal(self._best.outputs, lambda part: self._fails(self._regions.of(nodes, part)))

    def reduced(self, *, interrupted: bool) -> Reduced:
        """Return what was found."""
        ops = {str(node.name): node.op_type for node in self._model.graph}
        return Reduced(
            out=self._out,
            inputs_file=self._inputs_out() if self._check.wants_inputs else None,
            nodes_before=len(self._regions.nodes),
            nodes_after=len(self._best.nodes),
            ops=tuple(ops[name] for name in self._best.nodes),
            inputs=self._best.inputs,
            outputs=self._best.outputs,
            checks=self._checks,
            failure=str(self._failure),
            last_line=self._last_line,
            interrupted=interrupted,
        )

    def _step(self, what: str) -> None:
        self._progress.step(f"{what}: {len(self._best.nodes)} nodes, {self._checks} checks")

    def _fails(self, region: Region | None) -> bool:
        if region is None or not self._can_be_cut(region):
            return False
        if region not in self._tried:
            part = extract(self._model, region, self.recording.known)
            end = self._run(part, region)
            self._tried[region] = self._failure.is_repeated_by(end)
            if self._tried[region] and _size(region) <= _size(self._best):
                self._keep(part, region, end)
        return self._tried[region]

    def _can_be_cut(self, region: Region) -> bool:
        own = {value.name for value in self._model.graph.inputs}
        has = self.recording.files if self._check.wants_inputs else self.recording.known
        return all(name in own or name in has for name in region.inputs)

    def _run(self, model: ir.Model, region: Region) -> Ending:
        save_model(model, self._candidate)
        if self._check.wants_inputs:
            self._write_inputs(self._inputs, region)
        self._checks += 1
        return self._check.run(self._candidate, self._inputs)

    def _keep(self, model: ir.Model, region: Region, end: Ending) -> None:
        save_model(model, self._out)
        if self._check.wants_inputs:
            self._write_inputs(self._inputs_out(), region)
        self._best = region
        self._last_line = last_line(end)

    def _write_inputs(self, path: Path, region: Region) -> None:
        with atomic_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
            for name in region.inputs:
                write_arrays(archive, "", self.recording.values([name]))

    def _inputs_out(self) -> Path:
        return self._out.with_name(f"{self._out.name}.inputs.npz")


def _size(region: Region) -> tuple[int, int]:
    return len(region.nodes), len(region.outputs)
