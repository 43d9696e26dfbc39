"""``bmopt optimize``: passes only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmopt.errors import KernelError, ModelError
from bmopt.optimizer.simplify import VerifyOptions, optimize_file
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.source import as_file

if TYPE_CHECKING:
    import onnx_ir as ir

    from bmopt.core.runner import Runner
    from bmopt.optimizer.pass_log import PassRecord, PipelineLog


@dataclasses.dataclass(frozen=True)
class OptimizeReport:
    """What ``optimize`` did.

    Attributes:
        log: Per pass: time, node delta, refusals; and the verification.
        size_before: Bytes of the input, its external data included.
        size_after: Bytes of the output, its external data included.
        nodes_before: Nodes through sub-graphs.
        nodes_after: The same after.
    """

    log: PipelineLog
    size_before: int
    size_after: int
    nodes_before: int
    nodes_after: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value."""
        return dataclasses.asdict(self)


def optimize_model(
    source: Path,
    out: Path,
    *,
    pipeline: str = "simplify",
    shapes: Sequence[str] = (),
    verify: bool = True,
    on_pass: Callable[[str, str], None] | None = None,
    want_text: bool = False,
    progress: Progress | None = None,
) -> OptimizeReport:
    """Write ``source`` (``.onnx`` or ``.pt2``), rewritten by ``pipeline``, to ``out``.

    ``on_pass`` is called after every pass with its name and, with ``want_text``, the model's
    text.

    Raises:
        ModelError: ``source`` is no model that can be run.
        PassError: The pipeline's text does not parse.
        UsageError: ``shapes`` does not fit, or ``out`` is the input.
        OutputError: ``out`` cannot be written.
    """
    progress = progress or Quiet()
    with as_file(source) as path:
        progress.step("optimise")
        result = optimize_file(
            path,
            pipeline,
            verify=VerifyOptions(open_checked) if verify else None,
            prepare=_fixer(shapes) if shapes else None,
            on_pass=None if on_pass is None else _teller(on_pass, want_text),
        )
        from bmopt.graph.model_io import save_model
        from bmopt.workflow.files import size_on_disk

        if verify and result.log.verification.verdict == "not verified":
            _require_valid(result.source, path)
        save_model(result.model, out)
        records = result.log.records
        return OptimizeReport(
            log=result.log,
            size_before=size_on_disk(path),
            size_after=size_on_disk(out),
            nodes_before=records[0].nodes_before if records else 0,
            nodes_after=records[-1].nodes_after if records else 0,
        )


def _require_valid(model: ir.Model, path: Path) -> None:
    """Raise ``ModelError`` if ONNX Runtime calls the model invalid, not just unsupported."""
    try:
        with open_checked(model):
            return
    except KernelError:
        return
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def open_checked(model: ir.Model) -> Runner:
    """Open a model on ONNX Runtime with its optimisations off; imported when first used."""
    from bmopt.backends.onnxruntime.session import open_plain

    return open_plain(model)


def _fixer(shapes: Sequence[str]) -> Callable[[ir.Model], None]:
    def fix(model: ir.Model) -> None:
        from bmopt.workflow.shapes import fix_shapes, parse_shapes, static_axes

        fix_shapes(model, static_axes(parse_shapes(shapes)))

    return fix


def _teller(
    on_pass: Callable[[str, str], None], want_text: bool
) -> Callable[[PassRecord, ir.Model], None]:
    def tell(record: PassRecord, model: ir.Model) -> None:
        on_pass(record.name, _text(model) if want_text else "")

    return tell


def _text(model: ir.Model) -> str:
    import onnx_ir as ir

    return ir.to_onnx_text(model, exclude_initializers=True)
