"""A model that bmopt compiled, on ONNX Runtime, with the session settings it was compiled for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_CPU_FACTS = Path("/proc/cpuinfo")
_PROVIDERS = ["CPUExecutionProvider"]


class Model:
    """A session and what ``serving.json`` says of the model.

    Attributes:
        facts: The content of ``serving.json``.
        inputs: Input name -> name, dtype, shape (-1 where an axis is free) and layout.
        output_names: In the model's order.
        batches: Whether samples can be put one after the other along the first axis.
        labels: Names of the classes by index; empty without any.
    """

    def __init__(self, folder: str | Path, *, threads: int = 0) -> None:
        folder = Path(folder)
        self.facts = json.loads((folder / "serving.json").read_text(encoding="utf-8"))
        self.inputs = {port["name"]: port for port in self.facts["inputs"]}
        self.output_names = [port["name"] for port in self.facts["outputs"]]
        self.batches = bool(self.facts["batches"])
        self.labels = _labels(folder, self.facts["labels"])
        _require_cpu(self.facts)
        self._session = _session(folder / self.facts["model"], self.facts, threads)

    def feed(self, name: str, value: Any) -> Any:  # noqa: ANN401 - an array or nested lists
        """Return a value as the array that an input takes.

        Where it lacks the first axis, the sample is given one.

        Raises:
            ValueError: No such input, a wrong shape, or values that its type cannot hold.
        """
        if name not in self.inputs:
            raise ValueError(f"no input {name!r}; the inputs are {', '.join(self.inputs)}")
        port = self.inputs[name]
        array = _typed(np.asarray(value), port)
        shape = port["shape"]
        if array.ndim == len(shape) - 1 and shape[0] in (-1, 1):
            array = array[None]
        fits = [want in (-1, have) for have, want in zip(array.shape, shape, strict=False)]
        if array.ndim != len(shape) or not all(fits):
            raise ValueError(f"input {name!r} has shape {list(array.shape)}; it takes {shape}")
        return np.ascontiguousarray(array)

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """Return output name -> array.

        Raises:
            ValueError: An input is missing.
        """
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            raise ValueError(f"input {missing[0]!r} is missing")
        values = self._session.run(self.output_names, feeds)
        return dict(zip(self.output_names, values, strict=True))

    def top(self, outputs: dict[str, Any], count: int = 5) -> list[list[dict[str, Any]]]:
        """Return the labels with the largest values, a list per sample; empty without labels."""
        for name, array in outputs.items() if self.labels else ():
            classes = outputs.get(f"{name.removesuffix('_scores')}_classes")
            if classes is not None and name.endswith("_scores"):
                return [self._ranked(*row, count) for row in zip(array, classes, strict=True)]
            if array.shape[-1:] == (len(self.labels),):
                return [self._best(row, count) for row in array.reshape(-1, array.shape[-1])]
        return []

    def _ranked(self, values: Any, classes: Any, count: int) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return what the graph has ranked itself."""
        pairs = list(zip(classes.tolist(), values.tolist(), strict=True))[:count]
        return [
            {"label": self.labels[index], "index": index, "value": value}
            for index, value in pairs
            if index < len(self.labels)
        ]

    def _best(self, row: Any, count: int) -> list[dict[str, Any]]:  # noqa: ANN401
        order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
        return [{"label": self.labels[i], "index": int(i), "value": float(row[i])} for i in order]


def _labels(folder: Path, name: str | None) -> list[str]:
    if name is None:
        return []
    table = json.loads((folder / name).read_text(encoding="utf-8"))
    return [table[str(index)] for index in range(len(table))]


def _session(path: Path, facts: dict[str, Any], threads: int) -> Any:  # noqa: ANN401
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    for key, value in facts["session"].items():
        options.add_session_config_entry(key, value)
    return onnxruntime.InferenceSession(
        str(path), options, providers=_PROVIDERS, enable_fallback=False
    )


def _require_cpu(facts: dict[str, Any]) -> None:
    """Refuse a processor on which 8-bit products would saturate, or that lacks the kernels."""
    try:
        text = _CPU_FACTS.read_text(encoding="utf-8")
    except OSError:
        return
    lines = (line.partition(":") for line in text.splitlines())
    flags = next((tail.split() for key, _, tail in lines if key.strip() in _FLAG_KEYS), [])
    for wanted in facts["needs_cpu"]:
        if flags and not set(wanted) & set(flags):
            raise RuntimeError(
                f"{facts['target']}: this processor has no {' or '.join(wanted)}; "
                "compile the model for this one"
            )


_FLAG_KEYS = ("flags", "Features")


def _typed(array: Any, port: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the array in the input's type; only floats may lose precision."""
    wanted = np.dtype(port["dtype"])
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and wanted.kind != "f"):
        raise ValueError(f"input {port['name']!r} takes {wanted.name}, not {array.dtype.name}")
    with np.errstate(over="ignore"):
        result = array.astype(wanted)
    if wanted.kind != "f" and not np.array_equal(result, array):
        raise ValueError(f"input {port['name']!r} has values that {wanted.name} cannot hold")
    return result
