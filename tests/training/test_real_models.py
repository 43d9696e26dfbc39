"""The shared models in torch compute what they do on the engine."""

from __future__ import annotations

import numpy as np
import pytest

from bmopt.optimizer.pipeline import Pipeline
from bmopt.training.parameters import parameters_of
from bmopt.training.student import Student
from bmopt.workflow.finetuning import TRAINABLE
from tests.engine import PlainRunner
from tests.rewriting import random_feeds
from tests.shared_data import needs_shared, shared_dir

torch = pytest.importorskip("torch")

NAMES = [
    *("resnet20_cifar10", "resnet32_cifar10", "resnet8_mlperftiny_cifar10"),
    *("mobilenetv2_cifar10", "vit_pgd_cifar10", "mobilenet_v1_025_224_imagenet", "dscnn_kws"),
]


@needs_shared
@pytest.mark.zoo
@pytest.mark.parametrize("name", NAMES)
def test_a_shared_model_computes_in_torch_what_it_does_on_the_engine(name: str) -> None:
    from bmopt.graph.model_io import load_model

    folder = shared_dir()
    assert folder is not None
    model = Pipeline.parse(TRAINABLE).run(load_model(folder / "models" / f"{name}.onnx")).model
    feeds = random_feeds(model)
    with PlainRunner(model) as runner:
        wanted = runner.run(feeds)
    parameters = parameters_of(model)
    assert sum(each.kind == "weight" for each in parameters) >= 9
    tensors = {key: torch.from_numpy(array) for key, array in feeds.items()}
    found = Student(torch, model, parameters).run(tensors, list(wanted))
    for key, array in wanted.items():
        np.testing.assert_allclose(found[key].detach().numpy(), array, rtol=1e-3, atol=1e-3)
