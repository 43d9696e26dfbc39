"""What every tensor of a model is on one sample: its type and shape, and its value on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.backend import Reference
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BmoptError
from bmopt.graph.concrete_values import KnownValue, concrete_values
from bmopt.graph.extract import with_outputs
from bmopt.graph.values import constant_tensor

_TAPS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Recording:
    """The tensors of a model's main graph on one sample.

    Attributes:
        known: Tensor -> type and shape. Tensors that are missing have neither.
        folder: Where the values are; None where they were not kept.
        files: Tensor -> number of its file in ``folder``.
        problem: Why the model did not run, so that types and shapes are inferred; else empty.
    """

    known: Mapping[str, KnownValue]
    folder: Path | None = None
    files: Mapping[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value that ``from_dict`` reads."""
        known = {
            n: [k.dtype.name, None if k.shape is None else list(k.shape)]
            for n, k in self.known.items()
        }
        return {"known": known, "files": dict(self.files), "problem": self.problem}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], folder: Path | None) -> Recording:
        """Read ``to_dict``'s value."""
        known = {
            name: KnownValue(ir.DataType[dtype], None if shape is None else tuple(shape))
            for name, (dtype, shape) in document["known"].items()
        }
        return cls(known, folder, document["files"], document["problem"])

    def values(self, names: Sequence[str]) -> dict[str, Array]:
        """Return the recorded values of ``names``, without those that have none."""
        return {
            name: np.load(_file(self.folder, self.files[name]))
            for name in names
            if self.folder is not None and name in self.files
        }


def record(
    engine: Reference, model: ir.Model, feeds: Feeds | None, folder: Path | None = None
) -> Recording:
    """Run ``model`` once on ``feeds``, some tensors at a time, and note what each of them is.

    What the engine does not run, or leaves open, is filled in by shape inference. With ``folder``
    the values are kept there.
    """
    problem = (
        ""
        if feeds is not None
        else "ONNX Runtime runs the model on none of the random samples tried"
    )
    known = _inferred(model, feeds or {})
    files: dict[str, int] = {}
    if feeds is not None:
        try:
            for name, array in _run(engine, model, feeds):
                known[name] = KnownValue(_dtype(array, known.get(name)), tuple(array.shape))
                # NumPy stores none of the types that it does not have itself, such as bfloat16.
                if folder is not None and array.dtype.kind != "V":
                    files[name] = len(files)
                    np.save(_file(folder, files[name]), array)
        except BmoptError as error:
            problem = str(error)
    return Recording(known, folder, files, problem)


def inferred_only(model: ir.Model, problem: str) -> Recording:
    """Return types and shapes by inference; ``problem`` says why nothing was recorded."""
    return Recording(_inferred(model, {}), problem=problem)


def tensor_names(model: ir.Model) -> list[str]:
    """Return the names of what the main graph's nodes compute, in order, constants left out."""
    return [
        str(value.name)
        for node in model.graph
        for value in node.outputs
        if value.name and constant_tensor(value) is None
    ]


def write_arrays(archive: zipfile.ZipFile, folder: str, arrays: Mapping[str, Array]) -> None:
    """Add arrays to an ``.npz`` as ``numpy.savez`` would; any name will do."""
    for name, array in arrays.items():
        with archive.open(f"{folder}{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _run(engine: Reference, model: ir.Model, feeds: Feeds) -> Iterator[tuple[str, Array]]:
    for name, array in feeds.items():
        yield name, np.asarray(array)
    names = iter(tensor_names(model))
    while chunk := list(itertools.islice(names, _TAPS_AT_ONCE)):
        with engine.open_tapped(with_outputs(model, chunk)) as runner:
            outputs = runner.run(feeds)
        for name in chunk:
            value = outputs[name]
            # Sequences and text are no places to cut at.
            if isinstance(value, np.ndarray) and not value.dtype.hasobject:
                yield name, value


def _inferred(model: ir.Model, feeds: Feeds) -> dict[str, KnownValue]:
    shapes = {name: array.shape for name, array in feeds.items()}
    with contextlib.suppress(BmoptError):
        return concrete_values(model, shapes)
    return {}


def _dtype(array: Array, inferred: KnownValue | None) -> ir.DataType:
    """Return the element type; engines hand some types out as others."""
    return ir.DataType.from_numpy(array.dtype) if inferred is None else inferred.dtype


def _file(folder: Path | None, number: int) -> Path:
    assert folder is not None
    return folder / f"{number}.npy"
