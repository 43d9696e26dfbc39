"""Tensors that two graphs have in common, compared in the order they are computed in."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from bmopt.backends.registry import reference
from bmopt.bench.difference import DifferenceSums, OutputDifference, Tolerance
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Runner
from bmopt.errors import BmoptError, ModelError
from bmopt.graph.concrete_values import KnownValue, concrete_values
from bmopt.graph.extract import with_outputs
from bmopt.graph.model_io import load_model
from bmopt.graph.values import is_op, only_consumer
from bmopt.optimizer.casting.emulation import emulate_bfloat16, has_bfloat16
from bmopt.workflow.recording import tensor_names

_CHUNK_BYTES = 64 << 20
"""Tensors of one inference that are looked at together; all of them are alive until it ends."""

_LEAST_BYTES = 1 << 20
"""What a tensor of unknown size is taken to be, and the session's own cost of any."""

Fit = Callable[[Batch], tuple[Batch, Batch]]
"""A batch -> the same for each of the two models."""


def compare_layers(
    graphs: tuple[Path, Path],
    dataset: Dataset,
    batch_size: int,
    tolerance: Tolerance,
    *,
    fit: Fit,
    progress: Callable[[int, int], None],
) -> tuple[OutputDifference, ...]:
    """Compare every tensor that nodes of both main graphs compute under the same name.

    Where only a QuantizeLinear reads a tensor, what comes out of the DequantizeLinear behind it
    is looked at: the rest of the graph sees no other values, and the pair may stand for a Relu
    that it made superfluous.

    Both graphs run on the reference engine with its optimisations off, so that what is looked at
    is what is written. The samples are run once for every 64 MB of tensors.

    Raises:
        ModelError: The engine refuses a graph, or there is no such tensor.
        DataError: The samples do not fit.
    """
    a, b = (_Tapped.load(path) for path in graphs)
    pairs = _pairs(a, b)
    if not pairs:
        raise ModelError(
            f"{graphs[0]} and {graphs[1]} compute no tensors of the same name; compare them "
            "without --layers"
        )
    first = next(iter(dataset.batches(batch_size)))
    chunks = list(_chunks(pairs, a.model, fit(first)[0]))
    found: list[OutputDifference] = []
    for done, chunk in enumerate(chunks):
        progress(done, len(chunks))
        sums = {pair: DifferenceSums(" / ".join(dict.fromkeys(pair)), tolerance) for pair in chunk}
        tensors = tuple([pair[side] for pair in chunk] for side in (0, 1))
        with a.opened(tensors[0]) as left, b.opened(tensors[1]) as right:
            for batch in dataset.batches(batch_size):
                for_a, for_b = fit(batch)
                answers = left.run(for_a.feeds), right.run(for_b.feeds)
                for pair, each in sums.items():
                    one, other = answers[0][a.reads[pair[0]]], answers[1][b.reads[pair[1]]]
                    each.update(one, other, batch)
        found.extend(each.result() for each in sums.values())
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class _Tapped:
    """A model and its tensors.

    Attributes:
        model: The model.
        reads: Tensor -> the one that holds what the graph reads of it.
        norms: Tensor that only a BatchNormalization reads -> what that computes.
    """

    model: ir.Model
    reads: Mapping[str, str]
    norms: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> _Tapped:
        model = load_model(path)
        model = emulate_bfloat16(model) if has_bfloat16(model) else model
        values = {str(v.name): v for node in model.graph for v in node.outputs}
        reads = {name: _read_as(values[name]) for name in tensor_names(model)}
        readers = {name: only_consumer(values[reads[name]]) for name in reads}
        return cls(
            model,
            reads,
            {
                name: str(reader.outputs[0].name)
                for name, reader in readers.items()
                if reader is not None and is_op(reader, "BatchNormalization")
            },
        )

    @contextlib.contextmanager
    def opened(self, names: Sequence[str]) -> Iterator[Runner]:
        """Yield a runner whose outputs are what is read of ``names``."""
        shown = dict.fromkeys(self.reads[name] for name in names)
        with reference().open_checked(with_outputs(self.model, shown)) as runner:
            yield runner


def _pairs(a: _Tapped, b: _Tapped) -> list[tuple[str, str]]:
    """Return tensors of A and of B that hold the same.

    They have the same name. But tools that fold a BatchNormalization into the node before it
    leave the result with that node's name: its counterpart is what the normalisation computes.
    """
    pairs = []
    for name in a.reads:
        if name in b.reads:
            one, other = a.norms.get(name), b.norms.get(name)
            pairs.append((name if other else one or name, name if one else other or name))
    return list(dict.fromkeys(pairs))


def _read_as(value: ir.Value) -> str:
    quantize = only_consumer(value)
    if quantize is not None and is_op(quantize, "QuantizeLinear"):
        for use in quantize.outputs[0].uses():
            if is_op(use.node, "DequantizeLinear"):
                return str(use.node.outputs[0].name)
    return str(value.name)


def _chunks(
    pairs: Sequence[tuple[str, str]], model: ir.Model, batch: Batch
) -> Iterator[list[tuple[str, str]]]:
    known: dict[str, KnownValue] = {}
    with contextlib.suppress(BmoptError):
        known = concrete_values(model, {n: array.shape for n, array in batch.feeds.items()})
    chunk: list[tuple[str, str]] = []
    size = 0
    for pair in pairs:
        takes = _bytes(known.get(pair[0]))
        if chunk and size + takes > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(pair)
        size += takes
    yield chunk


def _bytes(value: KnownValue | None) -> int:
    if value is None or value.shape is None or value.dtype == ir.DataType.STRING:
        return _LEAST_BYTES
    return max(_LEAST_BYTES, math.ceil(math.prod(value.shape) * value.dtype.bitwidth / 8))
