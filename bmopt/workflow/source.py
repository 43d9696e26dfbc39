"""Models in: a file, a model in memory, or a torch module."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bmopt.errors import ModelError, UsageError


@contextlib.contextmanager
def as_file(source: object, example_inputs: Sequence[Any] | None = None) -> Iterator[Path]:
    """Yield an ``.onnx`` file of ``source``; a temporary one unless it is such a file already.

    ``source`` is a path to ``.onnx`` or ``.pt2``, an ``onnx.ModelProto``, an ``onnx_ir.Model``,
    or a ``torch.nn.Module`` with ``example_inputs``.

    Raises:
        ModelError: It cannot be read or exported.
        UsageError: It is something else, or example inputs are missing.
    """
    if isinstance(source, str | Path) and Path(source).suffix != ".pt2":
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="bmopt-") as folder:
        path = Path(folder) / f"{_stem(source)}.onnx"
        _write(source, example_inputs, path)
        yield path


def _stem(source: object) -> str:
    return Path(source).stem if isinstance(source, str | Path) else type(source).__name__.lower()


def _write(source: object, example_inputs: Sequence[Any] | None, path: Path) -> None:
    if isinstance(source, str | Path):
        _export(_load_pt2(Path(source)), None, path)
        return
    import onnx
    import onnx_ir as ir

    if isinstance(source, onnx.ModelProto):
        onnx.save(source, str(path))
    elif isinstance(source, ir.Model):
        from bmopt.graph.model_io import save_model

        save_model(source, path)
    elif hasattr(source, "state_dict"):
        if example_inputs is None:
            raise UsageError("a torch module needs example_inputs=(tensor, ...) to be exported")
        _export(source, tuple(example_inputs), path)
    else:
        raise UsageError(
            f"a {type(source).__name__} is no model; give a path, an onnx.ModelProto, an "
            "onnx_ir.Model or a torch.nn.Module"
        )


def _require_torch() -> None:
    for name in ("torch", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name} is not installed; pip install 'bmopt[torch]'")


def _load_pt2(path: Path) -> object:
    _require_torch()
    import torch

    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    try:
        return torch.export.load(path)
    except (RuntimeError, ValueError, OSError, KeyError, AssertionError) as error:
        raise ModelError(f"{path}: is no torch.export program ({_line(error)})") from error


def _export(module: Any, example_inputs: tuple[Any, ...] | None, path: Path) -> None:  # noqa: ANN401
    _require_torch()
    import torch

    if isinstance(module, torch.nn.Module):
        module = module.eval()
    try:
        program = torch.onnx.export(module, example_inputs or (), dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(f"torch.onnx cannot export the module ({_line(error)})") from error
    assert program is not None
    program.save(str(path))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
