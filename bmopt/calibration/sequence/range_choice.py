"""Choose every tensor's range by what quantising it does to the outputs of the layers behind it.

A tensor's own error says little of how much it matters: a clipped outlier may be what a filter
looks for, or what a Relu drops. So the candidates are compared behind the product that reads the
tensor, and behind the Relu or Clip that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from bmopt.calibration.encoding import encode_activation
from bmopt.calibration.sequence.bias_home import own_bias
from bmopt.calibration.sequence.blas import threads_for
from bmopt.calibration.sequence.layer import is_matrix, refinable
from bmopt.calibration.sequence.rows import Rows, weight_matrix
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.stream import Stream, feed_first
from bmopt.core.dataset import Dataset
from bmopt.core.plan import ActivationQuant, QuantPlan
from bmopt.core.ranges import METHODS, Method, RangeTable
from bmopt.core.runner import Array, OpenModel
from bmopt.core.scheme import Encoding, Scheme
from bmopt.graph.products import Product, clip_after, clip_bounds

_ROWS = 8192
_SEED = 20_261_126


def choose_ranges(
    model: ir.Model,
    plan: QuantPlan,
    table: RangeTable,
    scheme: Scheme,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    batch_size: int = 16,
    samples: int = 128,
    shelf: Shelf | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Method]:
    """Return the best method of every tensor that a product of ``plan`` reads as a matrix.

    The first method wins a tie.

    Args:
        model: The float model; is not changed.
        plan: Which products run in integers.
        table: The ranges to choose from, measured on ``model``.
        scheme: How activations are stored.
        dataset: The calibration samples.
        open_model: Opens parts of the model.
        batch_size: Samples per inference.
        samples: Samples to use at most: the first ones.
        shelf: Where tensors are kept between products.
        progress: Called with the products done and the products in all.

    Raises:
        DataError: There are no samples, or they do not fit.
        CalibrationError: Something between the products is no tensor.
    """
    products = list(refinable(model, plan).values())
    errors: dict[str, dict[Method, float]] = {}
    with shelf or Shelf() as kept:
        names = [product.node.name or "" for product in products]
        stream = Stream(model, names, open_model, kept, tag="float", before=True)
        feed_first([stream], dataset, batch_size, samples)
        for stage, product in enumerate(products):
            stream.pass_on(stage)
            if is_matrix(product):
                source = _source(product.node.inputs[0], plan)
                trial = _Trial(product, candidates(table, source, scheme.activation))
                trial.observe(stream, np.random.default_rng(_SEED + stage))
                sums = errors.setdefault(source, dict.fromkeys(METHODS, 0.0))
                for method, error in trial.errors.items():
                    sums[method] += error
            if progress is not None:
                progress(stage + 1, len(products))
    return {name: min(METHODS, key=sums.__getitem__) for name, sums in errors.items()}


def candidates(table: RangeTable, name: str, encoding: Encoding) -> dict[Method, ActivationQuant]:
    """Return every method's encoding of a tensor."""
    entry = table.tensors[name]
    return {
        method: encode_activation(entry.interval(method, symmetric=encoding.symmetric), encoding)
        for method in METHODS
    }


class _Trial:
    """One product's outputs with its input in each of several encodings."""

    def __init__(self, product: Product, encodings: Mapping[Method, ActivationQuant]) -> None:
        self.errors: dict[Method, float] = dict.fromkeys(METHODS, 0.0)
        self._product = product
        self._encodings = encodings
        weight = product.weight().astype(np.float32)
        self._weight = weight_matrix(product, weight).swapaxes(1, 2)
        bias = own_bias(product)
        assert bias is not None
        self._bias = bias.astype(np.float32).reshape(self._weight.shape[0], 1, -1)
        clip = clip_after(product.node)
        self._bounds = None if clip is None else clip_bounds(clip)

    def observe(self, stream: Stream, rng: np.random.Generator) -> None:
        """Take in what the product reads, of every batch."""
        per_batch = -(-_ROWS // stream.batches)
        picked = Rows(self._product, per_batch, per_batch)
        name = _name(self._product.node.inputs[0])
        with threads_for(self._weight.shape[1]):
            for number in range(stream.batches):
                self._take(picked.pick([stream.get(number, name)], rng)[0])

    def _take(self, rows: Array) -> None:
        wanted = self._output(rows)
        signal = float(np.vdot(wanted, wanted)) or 1.0
        known: dict[ActivationQuant, float] = {}
        for method, quant in self._encodings.items():
            if quant not in known:
                off = self._output(stored_values(rows, quant)) - wanted
                known[quant] = float(np.vdot(off, off)) / signal
            self.errors[method] += known[quant]

    def _output(self, rows: Array) -> Array:
        found: Array = rows @ self._weight + self._bias
        return found if self._bounds is None else np.clip(found, *self._bounds)


def stored_values(array: Array, quant: ActivationQuant) -> Array:
    """Return what is left of float32 values stored as ``quant`` says."""
    bounds = {"uint8": (0, 255), "int8": (-128, 127)}
    if quant.dtype not in bounds:
        import ml_dtypes

        dtype = ml_dtypes.float8_e4m3fn
        limited = np.clip(array / np.float32(quant.scale), -448, 448)
        floats: Array = limited.astype(dtype).astype(np.float32)
        return floats * np.float32(quant.scale)
    low, high = bounds[quant.dtype]
    steps = np.rint(array / np.float32(quant.scale))
    steps = np.clip(steps, low - quant.zero_point, high - quant.zero_point)
    return steps * np.float32(quant.scale)


def _source(value: ir.Value | None, plan: QuantPlan) -> str:
    """Return the tensor whose encoding ``value`` has: what nodes that move integers read."""
    assert value is not None
    moved = set(plan.moved)
    node = value.producer()
    while node is not None and (node.name or "") in moved:
        value = node.inputs[0]
        assert value is not None
        node = value.producer()
    return value.name or ""


def _name(value: ir.Value | None) -> str:
    assert value is not None
    return value.name or ""
