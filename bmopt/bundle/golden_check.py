"""Whether a model answers as it did when it was packed."""

from __future__ import annotations

import dataclasses
import math
import tokenize
from pathlib import Path
from typing import Any

import numpy as np

from bmopt.backends.registry import backend_for
from bmopt.bundle.manifest import GoldenOutput, GoldenPair, Model, Port
from bmopt.core.runner import Array, Runner
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, DataError, GoldenError, HostError, ModelError

_PROVIDERS = ("cuda", "tensorrt")
_NPY_ERRORS = (
    # What NumPy lets through of parsing a header, which is Python.
    *(ValueError, TypeError, KeyError, OSError, EOFError, OverflowError, SyntaxError),
    *(tokenize.TokenError, RecursionError, MemoryError),
)


@dataclasses.dataclass(frozen=True)
class Compared:
    """One recorded output beside what the model answers now.

    Attributes:
        pair: Which recorded inference.
        output: The output's name.
        difference: Largest absolute difference of an element; infinite where one is NaN, or the
            shape or dtype is another.
        tolerance: What it may be.
    """

    pair: int
    output: str
    difference: float
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Whether the output is right."""
        return self.difference <= self.tolerance


def open_packed(folder: Path, model: Model, *, threads: int = 0) -> Runner:
    """Open a model of the bundle in ``folder`` as the native runner does.

    Raises:
        HostError: The engine refuses it.
    """
    target = Target.parse(model.target)
    path = folder / model.file
    try:
        if model.engine == "onnxruntime" and target.device not in _PROVIDERS:
            from bmopt.backends.onnxruntime.session import SessionConfig, open_file

            return open_file(path, SessionConfig(threads=threads, entries=model.session))
        return backend_for(target).open(path, target, threads=threads)
    except (ModelError, ArtifactError) as error:
        raise HostError(f"{model.name}: {error}") from error


def compare_golden(folder: Path, model: Model, runner: Runner) -> list[Compared]:
    """Run the recorded inputs and compare what comes out.

    Raises:
        GoldenError: A recorded file is malformed or does not fit the model.
    """
    found = []
    for number, pair in enumerate(model.golden):
        answers = _run(folder, model, runner, pair)
        for output in pair.outputs:
            expected = read_golden(folder, output.file, _port(model.outputs, output.name))
            found.append(_compared(number, output, answers.get(output.name), expected))
    return found


def difference(found: Array, expected: Array) -> float:
    """Return ``max|found - expected|``; two NaN are equal, one is infinitely far from a number."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return math.inf
    same = (found == expected) | ((found != found) & (expected != expected))
    if bool(np.all(same)):
        return 0.0
    wide = (found[~same].astype(np.float64), expected[~same].astype(np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        most = float(np.max(np.abs(wide[0] - wide[1])))
    if math.isnan(most):
        return math.inf
    # Integers that float64 cannot tell apart still differ.
    return most if found.dtype.kind == "f" else max(most, 1.0)


def read_golden(folder: Path, file: str, port: Port) -> Array:
    """Read the ``.npy`` of an input or output from a bundle of anybody.

    It is mapped, so that its header cannot ask for more memory than the file has bytes.

    Raises:
        GoldenError: It is malformed, or does not fit ``port``.
    """
    try:
        array: Array = np.array(np.load(folder / file, mmap_mode="r", allow_pickle=False))
    except _NPY_ERRORS as error:
        raise GoldenError(f"{file}: is no .npy file ({error}); pack the bundle again") from error
    fits = len(array.shape) == len(port.shape) and all(
        wanted in (-1, size) for wanted, size in zip(port.shape, array.shape, strict=True)
    )
    if array.dtype.name != port.dtype or not fits:
        raise GoldenError(
            f"{file}: is {array.dtype.name}{list(array.shape)}, {port.name} is "
            f"{port.dtype}{list(port.shape)}; pack the bundle again"
        )
    return array


def _run(folder: Path, model: Model, runner: Runner, pair: GoldenPair) -> dict[str, Array]:
    feeds = {
        tensor.name: read_golden(folder, tensor.file, _port(model.inputs, tensor.name))
        for tensor in pair.inputs
    }
    try:
        return runner.run(feeds)
    except DataError as error:
        raise GoldenError(f"{model.name}: {error}") from error


def _port(ports: tuple[Port, ...], name: str) -> Port:
    return next(port for port in ports if port.name == name)


def _compared(pair: int, output: GoldenOutput, found: Any, expected: Array) -> Compared:  # noqa: ANN401
    apart = math.inf if found is None else difference(np.asarray(found), expected)
    return Compared(pair, output.name, apart, output.tolerance)
