"""onnxsim as a pass: in a child process, its result checked before it is taken."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from bmopt.errors import BmoptError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model, save_model
from bmopt.graph.nesting import nodes_in
from bmopt.graph.reborn import restore, same_interface
from bmopt.graph.weights import initializers
from bmopt.optimizer.onnxsim_child import MAX_FOLDED_BYTES, TIMEOUT_S, OnnxsimRun, start_onnxsim
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal

_GROWTH = 1.1
_GROWTH_SLACK_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class SourceRun:
    """A run of onnxsim that was started on a model's file before the model was loaded.

    Attributes:
        run: The run; whoever started it closes it.
        digest: Digest of the model as loaded from that file.
    """

    run: OnnxsimRun
    digest: str


class _UnusableError(Exception):
    """onnxsim's result cannot take the model's place."""


@dataclasses.dataclass(frozen=True)
class Onnxsim(Pass):
    """Let onnxsim fold, fuse and remove what it can.

    1. Interface and opset stay as they are: names, types and declared shapes of inputs and
       outputs, dynamic axes included.
    2. Origins, which onnxsim drops, are found again by the names of the outputs.
    3. A result with the same ops is not taken: there was nothing to do.

    Refuses as a whole when onnxsim dies, fails, hangs or writes a model that is invalid, has
    another interface, or is more than 10 % bigger.

    Attributes:
        max_folded_bytes: Constants bigger than this are left to ``fold-constants``.
        timeout_s: Seconds onnxsim may take.
        started: A run on the model's own file; used while the model is still that file's.
    """

    name: ClassVar[str] = "onnxsim"

    max_folded_bytes: int = MAX_FOLDED_BYTES
    timeout_s: float = TIMEOUT_S
    started: SourceRun | None = dataclasses.field(default=None, repr=False)

    def call(self, model: ir.Model) -> Outcome:
        """Put onnxsim's result in the place of the graph."""
        try:
            simplified = self._simplified(model)
            _require_same_interface(model, simplified)
            _require_no_growth(model, simplified)
        except (BmoptError, _UnusableError) as error:
            return Outcome(model, False, (Refusal("onnxsim", f"{error}"),))
        if _ops(simplified) == _ops(model):
            return Outcome(model, False)
        _take(model, simplified)
        return Outcome(model, True)

    def _simplified(self, model: ir.Model) -> ir.Model:
        run = self._source_run(model)
        if run is not None:
            # The file may have quirks that loading mended; then onnxsim tries what it became.
            with contextlib.suppress(BmoptError):
                return load_model(run.result())
        with tempfile.TemporaryDirectory(prefix="bmopt-onnxsim-") as folder:
            return self._run_on_copy(model, Path(folder) / "model.onnx")

    def _source_run(self, model: ir.Model) -> OnnxsimRun | None:
        """Return the run on the model's file, None where the model isn't that file's any more.

        onnxsim drops inputs that have a default, so such a model cannot use it either.
        """
        if self.started is None or any(v.is_initializer() for v in model.graph.inputs):
            return None
        return self.started.run if self.started.digest == model_digest(model) else None

    def _run_on_copy(self, model: ir.Model, path: Path) -> ir.Model:
        fed = [value for value in model.graph.inputs if value.is_initializer()]
        try:
            # onnxsim would fold these and drop the inputs; without values they are plain inputs.
            for value in fed:
                model.graph.initializers.pop(str(value.name))
            save_model(model, path)
        finally:
            for value in fed:
                model.graph.initializers.add(value)
        with start_onnxsim(
            path, max_folded_bytes=self.max_folded_bytes, timeout_s=self.timeout_s
        ) as run:
            return load_model(run.result())


def _require_same_interface(model: ir.Model, simplified: ir.Model) -> None:
    if not same_interface(model, simplified):
        raise _UnusableError("onnxsim changed the names or types of inputs or outputs")
    for domain, version in simplified.opset_imports.items():
        if model.opset_imports.get(domain, version) != version:
            raise _UnusableError(f"onnxsim changed the opset of domain {domain!r} to {version}")


def _require_no_growth(model: ir.Model, simplified: ir.Model) -> None:
    before, after = _weight_bytes(model), _weight_bytes(simplified)
    if after > before * _GROWTH + _GROWTH_SLACK_BYTES:
        raise _UnusableError(f"onnxsim's result has {after:,} bytes of weights, not {before:,}")


def _weight_bytes(model: ir.Model) -> int:
    attributes: Iterator[int] = (
        attribute.value.nbytes
        for node in nodes_in(model.graph)
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
    )
    weights: int = sum(tensor.nbytes for _, tensor in initializers(model))
    return weights + sum(attributes)


def _ops(model: ir.Model) -> collections.Counter[tuple[str, str]]:
    return collections.Counter((node.domain, node.op_type) for node in nodes_in(model.graph))


def _take(model: ir.Model, simplified: ir.Model) -> None:
    restore(model, simplified)
    for domain, version in model.opset_imports.items():
        simplified.opset_imports.setdefault(domain, version)
    model.graph = simplified.graph
    model.functions.clear()
    model.functions.update(simplified.functions)
