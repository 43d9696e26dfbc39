"""Sizes of models on disk."""

from __future__ import annotations

from pathlib import Path


def size_on_disk(path: Path) -> int:
    """Return the bytes of an ``.onnx`` file with the external data that it names."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    model = onnx.load(str(path), load_external_data=False)
    tensors = model.graph.initializer
    files = {ExternalDataInfo(t).location for t in tensors if uses_external_data(t)}
    folder = path.parent
    return path.stat().st_size + sum((folder / name).stat().st_size for name in files)
