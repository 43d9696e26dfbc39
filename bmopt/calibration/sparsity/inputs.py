"""Second moments of what products read, streamed over samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from bmopt.calibration.pruning.normal_equations import NormalEquations
from bmopt.calibration.pruning.readers import RowPicker, fittable
from bmopt.calibration.sequence.stream import first_batches
from bmopt.calibration.taps import tap
from bmopt.core.dataset import Dataset
from bmopt.core.input_moments import InputMoments
from bmopt.core.runner import Array, OpenModel
from bmopt.errors import DataError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.products import Product

_SEED = 20_150_531


def input_moments(
    model: ir.Model,
    dataset: Dataset,
    open_model: OpenModel,
    *,
    wants: Callable[[Product], bool] = lambda _: True,
    samples: int = 256,
    batch_size: int = 16,
) -> InputMoments:
    """Return the second moments of what the products of a model's main graph read.

    Products in groups, those by more than a matrix and those of very many inputs are left out.

    Args:
        model: The model; is not changed.
        dataset: The calibration samples.
        open_model: Opens the model with extra outputs.
        wants: Which products.
        samples: Samples to use at most: the first ones.
        batch_size: Samples per inference.

    Raises:
        DataError: There are no samples, or they do not fit.
    """
    fitting = (fittable(node) for node in model.graph)
    products = [p for p in fitting if p is not None and p.groups == 1 and wants(p)]
    names = {p.node.name or "": _data(p) for p in products}
    if not products:
        return InputMoments(model_digest(model), {}, {})
    tapped = tap(model, set(names.values()), exact=set(names.values()))
    batches = max(1, -(-min(samples, max(dataset.size, 1)) // batch_size))
    pickers = {p.node.name or "": RowPicker(p, batches) for p in products}
    sums = {name: NormalEquations(1, picker.size, 0) for name, picker in pickers.items()}
    rng = np.random.default_rng(_SEED)
    with open_model(tapped.model) as runner:
        for batch in first_batches(dataset, batch_size, samples):
            shown: dict[str, Array] = {**batch.feeds, **runner.run(batch.feeds)}
            for name, picker in pickers.items():
                x = picker.pick(shown[names[name]], rng)[0]
                sums[name].add(x, x[:, :, :0])
    if not all(one.count for one in sums.values()):
        raise DataError(f"{dataset.name}: has no samples; moments need at least one")
    found = {name: one.means(centred=False) for name, one in sums.items()}
    return InputMoments(
        model_digest(model),
        forms={name: one.xx[0] for name, one in found.items()},
        means={name: one.x[0] for name, one in found.items()},
    )


def _data(product: Product) -> str:
    value = product.node.inputs[0]
    return "" if value is None else value.name or ""
