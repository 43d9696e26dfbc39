"""Every file of the shared zoo: loads and survives saving, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmopt.errors import ModelError
from bmopt.graph.facts import model_facts
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model, save_model
from bmopt.graph.origin import origin_of
from tests.shared_data import needs_shared, shared_dir

pytestmark = [pytest.mark.zoo, needs_shared]

_INVALID = {
    "bad_graph_with_dup_value_info.onnx",
    "bad_graph_with_no_import_domains.onnx",
    "capability.onnx",
    "nested_local_function.onnx",
    "toy_subgraph.onnx",
}


def _files(*folders: str) -> list[Path]:
    root = shared_dir()
    if root is None:
        return []
    return sorted(path for folder in folders for path in (root / folder).glob("*.onnx"))


def _name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", _files("models", "zoo/models"), ids=_name)
def test_model_survives_saving(path: Path, tmp_path: Path) -> None:
    model = load_model(path)
    save_model(model, tmp_path / "saved.onnx")
    saved = load_model(tmp_path / "saved.onnx")
    assert model_digest(saved) == model_digest(model)
    origins = [origin_of(node) for node in model.graph.all_nodes()]
    assert all(origins)
    assert [origin_of(node) for node in saved.graph.all_nodes()] == origins


@pytest.mark.parametrize("path", _files("zoo/edge"), ids=_name)
def test_edge_file_loads_or_is_refused(path: Path, tmp_path: Path) -> None:
    if path.name in _INVALID:
        with pytest.raises(ModelError) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        return
    model = load_model(path)
    save_model(model, tmp_path / "saved.onnx")
    assert model_digest(load_model(tmp_path / "saved.onnx")) == model_digest(model)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("models/resnet20_cifar10.onnx", 40_551_040),
        ("models/mobilenet_v1_025_224_imagenet.onnx", 41_033_728),
        ("zoo/models/resnet20_dynamo_opset18.onnx", 40_551_040),
    ],
)
def test_macs_of_known_networks(name: str, macs: int) -> None:
    root = shared_dir()
    assert root is not None
    facts = model_facts(load_model(root / name))
    assert facts.macs_unknown == ()
    assert facts.macs == pytest.approx(macs, rel=1e-3)
