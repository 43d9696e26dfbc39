"""``simplify`` on real models and on awkward ones: equal results, or an error of one line."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bmopt.errors import ModelError
from bmopt.graph.model_io import save_model
from bmopt.optimizer.equivalence import Equivalence
from bmopt.optimizer.simplify import Optimized, VerifyOptions, optimize_file
from bmopt.optimizer.stretch import count_nodes
from tests.engine import PlainRunner
from tests.shared_data import needs_shared, shared_dir

pytestmark = [pytest.mark.zoo, needs_shared]

FAST = {
    *("resnet20_cifar10", "vit_pgd_cifar10", "silero_vad", "synthetic_loop_rnn"),
    *("synthetic_nonzero_dynamic_output", "resnet20_external_data", "vnn23_nn4sys_mscn_128d"),
    *("resnet8_already_int8_qdq", "resnet8_opset07_ir3_initializers_as_inputs"),
}
REFUSED = {
    *("bad_graph_with_dup_value_info", "bad_graph_with_no_import_domains"),
    *("capability", "nested_local_function", "toy_subgraph"),
}


def _files(*folders: str) -> list[Path]:
    root = shared_dir()
    return [] if root is None else sorted(p for f in folders for p in (root / f).glob("*.onnx"))


def _edge(*, refused: bool) -> list[Path]:
    return [path for path in _files("zoo/edge") if (path.stem in REFUSED) == refused]


def _parameters() -> list[object]:
    return [
        pytest.param(path, id=path.stem, marks=() if path.stem in FAST else pytest.mark.slow)
        for path in _files("models", "zoo/models")
    ]


def _optimize(path: Path) -> Optimized:
    return optimize_file(path, verify=VerifyOptions(PlainRunner))


def _check(result: Optimized, out: Path) -> None:
    """Assert what every result owes: no pass broke it, it is written, valid and equal."""
    assert result.log.rollbacks == ()
    save_model(result.model, out)
    names = [v.name for v in (*result.source.graph.inputs, *result.source.graph.outputs)]
    assert [v.name for v in (*result.model.graph.inputs, *result.model.graph.outputs)] == names
    assert count_nodes(result.model) <= count_nodes(result.source)
    check = Equivalence.seeded(PlainRunner, result.source, seed=7)
    reference = check.reference(result.source)
    assert reference.reason or check.fault(reference, result.model) is None


@pytest.mark.parametrize("path", _parameters())
def test_models_are_simplified_and_stay_equal(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    result = _optimize(path)
    out = tmp_path / "out.onnx"
    _check(result, out)
    assert result.log.verification.verdict == "equivalent"
    onnx.checker.check_model(str(out))
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", _edge(refused=False), ids=lambda path: path.stem)
def test_awkward_files_stay_equal(path: Path, tmp_path: Path) -> None:
    _check(_optimize(path), tmp_path / "out.onnx")


@pytest.mark.parametrize("path", _edge(refused=True), ids=lambda path: path.stem)
def test_invalid_files_are_refused_in_one_line(path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        _optimize(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
