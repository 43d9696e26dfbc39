"""Golden inputs and outputs: what the device has to answer, and how far it may be off.

The tolerance of an output is an absolute difference of any element, the largest of

- 3 times the largest difference, over all recorded inferences, between what was recorded and what
  the packed graph answers when other valid engines run it: with every op by itself, with Q/DQ
  nodes as they are written, and with the kernels that compute in integers;
- for a quantised graph, 3 times the largest difference that nudging the inputs makes, by 2^-13 of
  their range: far less than a quantisation step, so that what changes is which way values close
  to the middle between two steps are rounded. Each such choice makes others further on, and
  engines choose differently: ONNX Runtime's kernels for AArch64 moved ResNet-20's logits by 6
  steps against those for x86-64, between which and the Q/DQ nodes there was no difference;
- a floor for the order of sums: a part of the largest recorded magnitude, see ``FLOORS``;
- for what is computed from quantised values, 2 quantisation steps, or 4 where the graph answered
  in the place of an engine that is built on the device (see ``bmopt.bundle.steps`` for what a
  step of an output is).

An output of integers (a class index, a count) has no floor and no multiple: valid engines agree
on it or they do not. The graph is also run on inputs that are nudged by 2^-10 of their range,
and the tolerance is the largest difference seen, 0 where all agree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bmopt.bundle import layout
from bmopt.bundle.manifest import DTYPES, GoldenInput, GoldenOutput, GoldenPair, Port
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BundleError

Answer = Callable[[Feeds], Mapping[str, Array]]
"""Runs one inference."""

FLOORS = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 4e-2}
"""Narrowest type that an engine computes sums in -> part of an output's range."""

_MULTIPLE = 3.0
_STEPS = {"artifact": 2.0, "graph": 4.0}
_EDGE = 2.0**-10
_ROUNDING = 2.0**-13
_PATTERNS = ((1, 1.0), (1, -1.0), (3, 1.0), (3, -1.0))
"""How many elements in a row are moved the same way, and which way the first are."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What was recorded of one model.

    Attributes:
        pairs: Inputs and outputs of every inference, by name.
        steps: Output -> quantisation step, of those that have one.
        floor: Part of an output's range that it may be off in any case.
        source: ``"artifact"`` or ``"graph"``: who answered.
        is_quantised: Whether the graph rounds values to steps.
    """

    pairs: Sequence[tuple[Feeds, Feeds]]
    steps: Mapping[str, float]
    floor: float
    source: str
    is_quantised: bool = False


def tolerances(recorded: Recorded, answers: Sequence[Answer]) -> dict[str, float]:
    """Return output name -> tolerance; see above for the rule.

    Args:
        recorded: What was recorded.
        answers: The packed graph as other valid engines run it.

    Raises:
        BundleError: An engine answers NaN or infinity where another does not, or another shape.
    """
    differences: dict[str, float] = {}
    for feeds, outputs in recorded.pairs:
        given = [answer(feeds) for answer in answers]
        if any(_is_integer(array) for array in outputs.values()):
            edges = nudged(feeds, _EDGE)
            given += [_integers(answer(edges), outputs) for answer in answers]
        found = [*_differences(outputs, given)]
        if recorded.is_quantised:
            found += _roundings(feeds, outputs, answers[0])
        for name, largest in found:
            differences[name] = max(largest, differences.get(name, 0.0))
    return {name: _tolerance(name, recorded, found) for name, found in differences.items()}


def _roundings(feeds: Feeds, outputs: Feeds, answer: Answer) -> Iterator[tuple[str, float]]:
    """Yield how far the roundings move the float outputs, in several patterns."""
    floats = [name for name, array in outputs.items() if not _is_integer(array)]
    # Before the next run: an engine may hand out the same memory again.
    plain = {name: np.array(array) for name, array in answer(feeds).items() if name in floats}
    for run, start in _PATTERNS:
        yield from _differences(plain, [answer(nudged(feeds, _ROUNDING * start, run))])


def nudged(feeds: Feeds, part: float, run: int = 1) -> dict[str, Array]:
    """Return inputs whose floats are moved by a part of their range, ``run`` up, ``run`` down."""
    return {name: _nudged(array, part, run) for name, array in feeds.items()}


def _nudged(array: Array, part: float, run: int) -> Array:
    if array.dtype.kind != "f" or not array.size:
        return array
    signs = np.where(np.arange(array.size) // run % 2, -1.0, 1.0).reshape(array.shape)
    moved: Array = (array + signs * magnitude(array) * part).astype(array.dtype)
    return moved


def _is_integer(array: Array) -> bool:
    return array.dtype.kind in "iub"


def _integers(answer: Mapping[str, Array], outputs: Feeds) -> dict[str, Array]:
    return {name: answer[name] for name, array in outputs.items() if _is_integer(array)}


def _differences(
    outputs: Feeds, given: Iterable[Mapping[str, Array]]
) -> Iterator[tuple[str, float]]:
    for name, expected in outputs.items():
        yield name, 0.0
        for answer in given:
            if name in answer:
                yield name, largest_difference(answer[name], expected, name)


def largest_difference(found: Array, expected: Array, name: str) -> float:
    """Return the largest absolute difference of an element; NaN equals NaN, inf equals inf.

    Raises:
        BundleError: The shapes differ, or one is NaN or infinite where the other is not.
    """
    if found.shape != expected.shape:
        raise BundleError(
            f"output {name!r} has shape {list(found.shape)} on one engine and "
            f"{list(expected.shape)} on another; its golden output cannot be checked"
        )
    left, right = found.astype(np.float64), expected.astype(np.float64)
    alike = (left == right) | (np.isnan(left) & np.isnan(right))
    if alike.all():
        return 0.0
    largest = float(np.abs(left[~alike] - right[~alike]).max())
    if not math.isfinite(largest):
        raise BundleError(
            f"output {name!r} is NaN or infinite on one engine and not on another; "
            "its golden output cannot be checked"
        )
    return largest


def _tolerance(name: str, recorded: Recorded, largest: float) -> float:
    outputs = [pair[1][name] for pair in recorded.pairs]
    steps = _STEPS[recorded.source] * recorded.steps.get(name, 0.0)
    if _is_integer(outputs[0]):
        return max(largest, math.floor(steps))
    reach = max(magnitude(array) for array in outputs)
    return _rounded_up(max(_MULTIPLE * largest, recorded.floor * reach, steps))


def magnitude(array: Array) -> float:
    """Return the largest finite magnitude in ``array``, 0 without any."""
    values = np.abs(array.astype(np.float64))
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def _rounded_up(value: float) -> float:
    """Return ``value`` with three digits, rounded up, so that it reads well."""
    if value == 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit) * unit:.3g}")


def write_golden(
    bundle: Path,
    name: str,
    recorded: Recorded,
    allowed: Mapping[str, float],
    ports: tuple[Sequence[Port], Sequence[Port]],
) -> tuple[GoldenPair, ...]:
    """Write the tensors of the model ``name`` into the folder ``bundle`` and describe them.

    Args:
        bundle: The bundle's folder.
        name: The model's name in it.
        recorded: What to write, by the names of ``ports``.
        allowed: Output name -> tolerance.
        ports: The model's inputs and outputs, in order.

    Raises:
        BundleError: A tensor is missing, or of a type that the native runner has not.
    """
    inputs, outputs = ports
    found = []
    for index, (feeds, answers) in enumerate(recorded.pairs):
        place = f"{layout.GOLDEN}/{name}/{index}"
        (bundle / place).mkdir(parents=True)
        given = _write(bundle, f"{place}/input", inputs, feeds)
        expected = _write(bundle, f"{place}/output", outputs, answers)
        found.append(
            GoldenPair(
                tuple(GoldenInput(port.name, file) for port, file in given),
                tuple(
                    GoldenOutput(
                        port.name,
                        file,
                        allowed[port.name],
                        recorded.steps.get(port.name),
                        recorded.source,
                    )
                    for port, file in expected
                ),
            )
        )
    return tuple(found)


def _write(
    bundle: Path, prefix: str, ports: Sequence[Port], arrays: Feeds
) -> list[tuple[Port, str]]:
    written = []
    for index, port in enumerate(ports):
        if port.name not in arrays:
            raise BundleError(f"no golden tensor was recorded for {port.name!r}; compile again")
        file = f"{prefix}_{index}.npy"
        array = np.ascontiguousarray(arrays[port.name]).reshape(arrays[port.name].shape)
        if array.dtype.name not in DTYPES:
            raise BundleError(f"{port.name!r}: the runner has no tensors of {array.dtype.name}")
        with (bundle / file).open("wb") as stream:
            np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
        written.append((port, file))
    return written
