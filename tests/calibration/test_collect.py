from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration import collect
from bmopt.calibration.collect import collect_ranges
from bmopt.core.ranges import RangeTable
from bmopt.core.runner import Array, Feeds
from bmopt.errors import CalibrationError, DataError
from tests.calibration.float_samples import draw_floats
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.shared_data import needs_shared, shared_dir

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'
MODEL = (
    HEADER
    + """
g (float[N, 4] x) => (float[N, 2] y)
  <float[4, 2] w = {1, -1, 2, -2, 3, -3, 4, -4}, int64[2] flat = {-1, 2}>
{
  h = MatMul(x, w)
  r = Relu(h)
  y = Reshape(r, flat)
}
"""
)


def collected(
    text: str = MODEL, x: Array | None = None, batch_size: int = 8, threads: int = 1
) -> RangeTable:
    samples = draw_floats(1, 120).reshape(30, 4) if x is None else x
    return collect_ranges(
        ir.from_onnx_text(text),
        MemoryDataset({"x": samples}),
        PlainRunner,
        model_digest="m",
        batch_size=batch_size,
        threads=threads,
    )


@dataclasses.dataclass
class RecordingRunner(PlainRunner):
    """Notes how many samples every inference had."""

    model: ir.Model
    sizes: list[int]

    def __post_init__(self) -> None:
        super().__init__(self.model)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.sizes.append(len(feeds["x"]))
        return super().run(feeds)


def recorder(sizes: list[int]) -> Callable[[ir.Model], RecordingRunner]:
    return lambda model: RecordingRunner(model, sizes)


def test_ranges_are_those_of_the_activations() -> None:
    x = draw_floats(1, 120).reshape(30, 4)
    table = collected(x=x)
    h = x @ np.array([[1, -1], [2, -2], [3, -3], [4, -4]], np.float32)
    assert list(table.tensors) == ["x", "r", "y"], "what only a Relu reads is stored by nobody"
    assert table.samples == 30
    assert (table.model, table.dataset) == ("m", "f" * 64)
    for name, values in {"x": x, "r": np.maximum(h, 0), "y": np.maximum(h, 0)}.items():
        entry = table.tensors[name]
        assert entry.count == values.size
        extremes = (float(values.min()), float(values.max()))
        assert (entry.low, entry.high) == pytest.approx(extremes, rel=1e-5)


def test_table_survives_its_file() -> None:
    table = collected()
    assert RangeTable.from_json(table.to_json()) == table


def test_large_taps_split_a_batch_without_changing_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = []
    for budget in (1 << 20, 100):
        sizes: list[int] = []
        monkeypatch.setattr(collect, "_TAP_BYTES", budget)
        x = draw_floats(1, 120).reshape(30, 4)
        results.append(
            collect_ranges(
                ir.from_onnx_text(MODEL),
                MemoryDataset({"x": x}),
                recorder(sizes),
                model_digest="m",
                batch_size=16,
            )
        )
        assert sum(sizes) == 30
        # A sample's tapped outputs take 24 bytes; 100 bytes hold those of four.
        assert max(sizes) == (15 if budget > 100 else 4)
    assert results[0] == results[1]


def test_fixed_batch_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "_TAP_BYTES", 1)
    sizes: list[int] = []
    collect_ranges(
        ir.from_onnx_text(MODEL.replace("N,", "5,")),
        MemoryDataset({"x": draw_floats(1, 40).reshape(10, 4)}),
        recorder(sizes),
        model_digest="m",
        batch_size=5,
    )
    assert sizes == [5, 5]


def test_batch_size_moves_the_moving_average_only() -> None:
    one, eight = (collected(batch_size=size) for size in (1, 8))
    for name, entry in one.tensors.items():
        other = eight.tensors[name]
        averages = [t.interval("moving-average", symmetric=False) for t in (entry, other)]
        assert averages[0] != averages[1]
        # MatMul may round differently with the number of rows.
        for method in ("minmax", "percentile", "mse"):
            found, expected = (t.interval(method, symmetric=False) for t in (entry, other))
            assert found.low == pytest.approx(expected.low, rel=1e-5)
            assert found.high == pytest.approx(expected.high, rel=1e-5)


def test_threads_change_nothing() -> None:
    x = draw_floats(2, 600_000 * 4).reshape(-1, 4)
    one, three = (collected(x=x, batch_size=600_000, threads=n) for n in (1, 3))
    assert one == three


def test_progress_counts_samples() -> None:
    seen: list[tuple[int, int]] = []
    collect_ranges(
        ir.from_onnx_text(MODEL),
        MemoryDataset({"x": draw_floats(1, 40).reshape(10, 4)}),
        PlainRunner,
        model_digest="m",
        batch_size=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_channels_are_kept_for_those_asked() -> None:
    table = collect_ranges(
        ir.from_onnx_text(MODEL),
        MemoryDataset({"x": draw_floats(1, 40).reshape(10, 4)}),
        PlainRunner,
        model_digest="m",
        batch_size=4,
        channels={"h": 1},
    )
    entry = table.tensors["h"]
    assert entry.channels is not None
    first, second = entry.channels.ranges
    assert first.low == pytest.approx(-second.high, rel=1e-5)
    assert min(first.low, second.low) == entry.low
    assert first.count + second.count == entry.count
    assert table.tensors["r"].channels is None


def test_integers_of_undeclared_type_are_left_out() -> None:
    text = (
        HEADER
        + "g (float[N, 4] x) => (float[N, 4] y) { i = Shape(x) z = Expand(x, i) y = Neg(z) }"
    )
    assert list(collected(text).tensors) == ["x", "z", "y"]


def test_infinities_of_a_mask_are_counted() -> None:
    text = HEADER + "g (float[N, 4] x) => (float[N, 4] y) { l = Log(x) y = Exp(l) }"
    x = np.array([[0, 1, 2, 4]], np.float32)
    entry = collected(text, x).tensors["l"]
    assert (entry.infinities, entry.count, entry.low) == (1, 3, 0.0)


def test_tensor_that_never_left_zero_is_reported() -> None:
    text = HEADER + "g (float[N, 4] x) => (float[N, 4] y) { r = Relu(x) y = Neg(r) }"
    tensors = collected(text, np.full((3, 4), -1, np.float32)).tensors
    assert tensors["r"].is_zero
    assert not tensors["x"].is_zero


def test_nan_in_an_activation_names_the_tensor() -> None:
    text = HEADER + "g (float[N, 4] x) => (float[N, 4] y) { l = Log(x) y = Tanh(l) }"
    with pytest.raises(CalibrationError, match="tensor 'l': became NaN"):
        collected(text, np.full((2, 4), -1, np.float32))


def test_nan_in_a_sample_names_the_input() -> None:
    with pytest.raises(DataError, match="input 'x': has NaN"):
        collected(x=np.full((2, 4), np.nan, np.float32))


def test_empty_data_set_is_refused() -> None:
    with pytest.raises(DataError, match="has no samples"):
        collected(x=np.zeros((0, 4), np.float32))


@pytest.mark.zoo
@needs_shared
def test_real_model_is_seen_like_numpy_sees_it() -> None:
    folder = shared_dir()
    assert folder is not None
    model = ir.load(folder / "models" / "mobilenetv2_cifar10.onnx")
    images = np.load(folder / "cifar10" / "cifar10_calib1024.npz")["images"][:12]
    x = ((images / 255.0 - 0.45) / 0.22).transpose(0, 3, 1, 2).astype(np.float32)
    table = collect_ranges(
        model, MemoryDataset({"input": x}), PlainRunner, model_digest="m", batch_size=6
    )
    names = [value.name for node in model.graph for value in node.outputs]
    assert set(table.tensors) <= {"input", *names}
    shown = model.clone()
    for node in shown.graph:
        shown.graph.outputs.extend(v for v in node.outputs if not v.is_graph_output())
    with PlainRunner(shown) as runner:
        expected = runner.run({"input": x})
    for name, entry in table.tensors.items():
        values = x if name == "input" else expected[name]
        assert entry.count == values.size
        assert entry.low == pytest.approx(float(values.min()), rel=1e-4, abs=1e-5)
        assert entry.high == pytest.approx(float(values.max()), rel=1e-4, abs=1e-5)
