"""onnxsim on a model's file, started before anything heavy is imported here."""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bmopt.errors import IsolatedToolError
from bmopt.optimizer.onnxsim_child import OnnxsimRun, start_onnxsim

_NEGATIVE_SIZE = b"\x08" + b"\xff" * 9 + b"\x01"
"""``dim_value: -1`` in a protobuf; other things may look so too."""


@contextlib.contextmanager
def early_onnxsim(path: Path) -> Iterator[OnnxsimRun | None]:
    """Start onnxsim on ``path``, and end it on leaving; None where it cannot be started.

    onnxsim computes with sizes of -1, which some exporters write for unknown ones, as if they
    were real. Such a file is given to it as a copy without them.
    """
    with contextlib.ExitStack() as stack:
        run = None
        with contextlib.suppress(OSError, ValueError, IsolatedToolError):
            source: Path | None = path
            if _may_have_negative_sizes(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bmopt-mended-"))
                source = _mended(path, Path(folder))
            if source is not None:
                run = stack.enter_context(start_onnxsim(source))
        yield run


def _may_have_negative_sizes(path: Path) -> bool:
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return data.find(_NEGATIVE_SIZE) >= 0


def _mended(path: Path, folder: Path) -> Path | None:
    """Return a copy of ``path`` without negative sizes, None where it cannot be made simply."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        return None
    graph = model.graph
    if any(tensor.external_data for tensor in graph.initializer):
        return None
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")
    copy = folder / path.name
    copy.write_bytes(model.SerializeToString())
    return copy
