"""Seeded random samples of the shapes that a model declares."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bmopt.core import digest
from bmopt.core.dataset import Batch, InputSpec
from bmopt.core.runner import Array
from bmopt.data.fit import is_float, numpy_dtype, shape_fits, shape_text
from bmopt.errors import DataError, UsageError

DEFAULT_SIZE = 32


@dataclasses.dataclass(frozen=True)
class RandomDataset:
    """Random samples: floats uniform in -1..1, 8-bit integers over their non-negative range.

    Wider integers are below ``int_bound``, because they are mostly indices and must not run past
    small tables, and booleans are fair coins. Sample ``i`` depends on the seed and ``i`` only.
    Samples are batched where every input has a dynamic first axis and nothing else refers to it;
    otherwise each is one inference.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    shapes: tuple[tuple[int, ...], ...]
    batchable: bool
    size: int
    seed: int
    int_bound: int = 10

    @property
    def has_labels(self) -> bool:
        """Always false."""
        return False

    @property
    def content(self) -> str:
        """Digest of the generator; equal seeds give overlapping samples."""
        return digest.of_json(["random", self.seed])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that the samples depend on."""
        specs = [
            [s.name, s.dtype, shape] for s, shape in zip(self.inputs, self.shapes, strict=True)
        ]
        return digest.of_json(["random", self.seed, self.size, self.int_bound, specs])

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches in order."""
        step = max(1, batch_size) if self.batchable else 1
        for start in range(0, self.size, step):
            indices = range(start, min(start + step, self.size))
            samples = [self._sample(index) for index in indices]
            feeds = {
                spec.name: _joined([sample[i] for sample in samples])
                for i, spec in enumerate(self.inputs)
            }
            yield Batch(feeds, len(samples))

    def _sample(self, index: int) -> list[Array]:
        generator = np.random.default_rng([self.seed, index])
        pairs = zip(self.inputs, self.shapes, strict=True)
        bound = self.int_bound
        return [_random(generator, numpy_dtype(spec.dtype), shape, bound) for spec, shape in pairs]


def open_random(
    inputs: Sequence[InputSpec],
    *,
    name: str,
    size: int,
    seed: int,
    shapes: Mapping[str, Sequence[int]],
) -> RandomDataset:
    """Return random samples for ``inputs``.

    A dynamic first axis becomes 1 and binds its symbol elsewhere; ``shapes`` (input name -> whole
    shape) fixes the others, and binds the symbols that it fixes.

    Raises:
        UsageError: ``shapes`` names no input or contradicts its declared shape.
        DataError: An axis whose size is unknown, or a type that has no random values.
    """
    unknown = sorted(shapes.keys() - {spec.name for spec in inputs})
    if unknown:
        names = ", ".join(spec.name for spec in inputs)
        raise UsageError(f"shapes: there is no input {unknown[0]!r}; the model has {names}")
    for spec in inputs:
        _require_random(spec)
    bound = _bindings(inputs, shapes)
    resolved = tuple(_resolved(spec, shapes, bound) for spec in inputs)
    batchable = not shapes and _batchable(inputs)
    return RandomDataset(name, tuple(inputs), resolved, batchable, size, seed)


def _require_random(spec: InputSpec) -> None:
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind not in "biu" and not is_float(dtype):
        raise DataError(f"random: input {spec.name!r} is {spec.dtype}; give real samples")


def _bindings(inputs: Sequence[InputSpec], shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    bound: dict[str, int] = {}
    for spec in inputs:
        given = shapes.get(spec.name)
        if given is None or spec.shape is None:
            continue
        if not shape_fits(given, spec.shape):
            raise UsageError(
                f"shapes: {shape_text(given)} does not fit input {spec.name!r}, which wants "
                f"{shape_text(spec.shape)}"
            )
        bound.update({k: n for k, n in zip(spec.shape, given, strict=True) if isinstance(k, str)})
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], str):
            bound.setdefault(spec.shape[0], 1)
    return bound


def _resolved(
    spec: InputSpec, shapes: Mapping[str, Sequence[int]], bound: Mapping[str, int]
) -> tuple[int, ...]:
    if spec.name in shapes:
        return tuple(shapes[spec.name])
    declared = spec.shape
    if declared is None:
        raise DataError(f"random: the shape of input {spec.name!r} is unknown; give it in shapes")
    sizes = [bound.get(n) if isinstance(n, str) else n for n in declared]
    if sizes and sizes[0] is None:
        sizes[0] = 1
    known = tuple(n for n in sizes if n is not None)
    if len(known) != len(sizes):
        raise DataError(
            f"random: input {spec.name!r} is {shape_text(declared)}; say how large its dynamic "
            f"axes are, for example --shapes {spec.name}:{'x'.join(str(n or 16) for n in sizes)}"
        )
    return known


def _batchable(inputs: Sequence[InputSpec]) -> bool:
    inner: set[int | str | None] = set()
    for spec in inputs:
        if not spec.shape or isinstance(spec.shape[0], int):
            return False
        inner.update(spec.shape[1:])
    leading = {spec.shape[0] for spec in inputs if spec.shape}
    return len(leading) == 1 and not leading & inner


def _random(
    generator: np.random.Generator,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    int_bound: int,
) -> Array:
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        bound = _non_negative(dtype) if dtype.itemsize == 1 else int_bound
        return generator.integers(0, bound, shape).astype(dtype)
    return generator.uniform(-1.0, 1.0, shape).astype(dtype)


def _non_negative(dtype: np.dtype[np.generic]) -> int:
    return 256 if dtype.kind == "u" else 128


def _joined(arrays: Sequence[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
