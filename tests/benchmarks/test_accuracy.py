"""What the comparison of accuracy judges, keeps, reads and prints; no other tool is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from accuracy import pages
from accuracy.__main__ import command, parser
from accuracy.compiling import compiled, read_report
from accuracy.costs import inference_seconds
from accuracy.goals import GOALS, SCHEMES, Scheme, missed, schemes
from accuracy.ladder import RUNGS, flags_of
from accuracy.latency import ours_over
from accuracy.made import stored_task
from accuracy.results import (
    Cost,
    Ladder,
    ModelResult,
    Results,
    SchemeResult,
    Score,
    Step,
    read_results,
    write_results,
)
from accuracy.scoring import scored
from accuracy.store import Store
from peers.making import Made, Task
from peers.results import ModelResult as LatencyResult
from peers.results import Ratio, Row
from shared_models import SharedModel

from bmopt.core.ranges import Interval
from bmopt.workflow.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]
MOBILENET = "mobilenet_v1_025_224_imagenet"
ORT, TRT = SCHEMES


def ratio(value: float) -> Ratio:
    return Ratio(value, value - 0.01, value + 0.01, "faster" if value < 1 else "slower")


def scheme_result(ours: float, *others: Score, target: str = "ort-int8") -> SchemeResult:
    row = Score("bmopt", "bmopt", "", ours, 0.64, Interval(-0.02, 0.01), 20.0)
    return SchemeResult(target, 500, 0.65, (row, *others))


NNCF = Score("nncf_openvino", "NNCF", "", 0.86, 0.65, Interval(-0.01, 0.03))
MODELOPT = Score("modelopt_max", "ModelOpt max", "", 0.97)
BROKEN = Score("ort_default", "ORT default", "failed: does not load")
LATENCY = LatencyResult(
    MOBILENET,
    fp32=Row("fp32", "FP32"),
    rows=(
        Row("bmopt", "bmopt", agreement=0.9, to_fp32=ratio(0.5)),
        Row("ort_default", "ORT", note="failed: does not load"),
        Row("ort_best", "ORT", agreement=0.1, to_fp32=ratio(0.2), ours_to_it=ratio(2.5)),
        Row("nncf_openvino", "NNCF", agreement=0.9, to_fp32=ratio(0.4), ours_to_it=ratio(1.25)),
        Row("modelopt_max", "ModelOpt", agreement=0.9, is_for_tensorrt=True,
            to_fp32=ratio(0.1), ours_to_it=ratio(5.0)),
    ),
    warnings=("a busy host",),
)  # fmt: skip
MODEL = ModelResult(
    MOBILENET,
    calibrated=128,
    schemes=(scheme_result(0.96, BROKEN, NNCF, MODELOPT),),
    latency=LATENCY,
    ladders=(
        Ladder("ort-int8", (Step("min-max, nearest", "", 0.8, 12.34, 9.0), Step("+ ranges", "x"))),
    ),
    costs=(
        Cost("bmopt-ort-int8", "bmopt, ort-int8", "", 30.0, 200_000_000, 6.0),
        Cost("nncf_openvino", "NNCF", "", 3.0, 160_000_000),
    ),
    inference_seconds=2.0,
)
RESULTS = Results("run it", "balanced", "2 cores", {"nncf": "3"}, (MODEL,))


def test_a_goal_is_reached() -> None:
    assert not missed(MOBILENET, scheme_result(0.95, NNCF, BROKEN))


def test_what_misses_a_goal_is_told() -> None:
    assert missed(MOBILENET, scheme_result(0.855, NNCF)) == [
        "agrees on 85.50 %, 95.00 % asked for",
        "below NNCF (86.00 %)",
    ]
    assert missed("other", scheme_result(0.86, NNCF)) == ["level with NNCF (86.00 %)"]
    broken = SchemeResult("ort-int8", rows=(Score("bmopt", "bmopt", "failed: no"),))
    assert missed(MOBILENET, broken) == ["failed: no"]


def test_top1_counts_where_it_is_asked_for() -> None:
    row = Score("bmopt", "bmopt", "", 0.96, 0.6, Interval(-0.06, -0.01))
    found = SchemeResult("ort-int8", 500, 0.65, (row,))
    assert missed(MOBILENET, found) == ["top-1 is below FP32's by 1.00 points or more"]
    assert not missed(MOBILENET, dataclasses.replace(found, target="trt-int8"))


def test_rivals_are_those_for_the_engine() -> None:
    assert not missed("other", scheme_result(0.9, MODELOPT, NNCF))
    assert missed("other", scheme_result(0.9, MODELOPT, NNCF, target="trt-int8"))


def test_goals_are_of_schemes_that_there_are() -> None:
    assert {target for _, target in GOALS} == {scheme.target for scheme in SCHEMES}
    assert schemes("trt-int8") == [TRT]
    with pytest.raises(ValueError, match="no scheme 'tvm'"):
        schemes("tvm")


def test_the_ladder_has_every_step_once() -> None:
    assert flags_of(RUNGS[0]) == ("--method", "minmax", "--steps", "none")
    assert flags_of(RUNGS[2]) == ("--method", "auto", "--steps", "ranges,equalize")
    assert sorted(flags_of(RUNGS[-1])[-1].split(",")) == sorted(STEPS)


@dataclasses.dataclass(frozen=True)
class Value:
    number: int


def test_what_is_finished_is_kept(tmp_path: Path) -> None:
    made = iter(range(9))

    def kept(key: str, *, is_valid: bool = True) -> int:
        store = Store(tmp_path / "steps")
        return store.kept(
            "step", [key], Value, lambda: Value(next(made)), lambda _: is_valid
        ).number

    assert [kept("a"), kept("a"), kept("b"), kept("b")] == [0, 0, 1, 1]
    assert [kept("b", is_valid=False), kept("c", is_valid=False)] == [2, 3]
    assert kept("b") == 1  # What may not be kept took nothing's place.
    (tmp_path / "steps" / "step.json").write_text("{", encoding="utf-8")
    assert kept("b") == 4


def test_a_report_is_read() -> None:
    accuracy = {"agreement": 0.9, "sqnr_db": {"a": 20.5, "b": "inf"}}
    found = read_report({"accuracy": accuracy, "refinement": {"seconds": 3}})
    assert (found.agreement, found.sqnr_db, found.refine_seconds) == (0.9, 20.5, 3.0)
    assert read_report({"accuracy": None}).agreement is None


def test_a_failure_is_told_without_folders(tmp_path: Path) -> None:
    model = SharedModel("net", tmp_path / "net.onnx", "random:1", "random:1")
    found = compiled(model, "ort-int8", (), tmp_path / "out")
    assert "net.onnx" in found.note
    assert str(tmp_path) not in found.note
    assert found.peak_bytes


def lines(name: str, model: ModelResult = MODEL) -> list[str]:
    found = dataclasses.replace(RESULTS, models=(model,))
    return pages.sections(found)[name].splitlines()


def test_accuracy_is_shown_beside_the_goal() -> None:
    found = lines("accuracy")
    assert found[:3] == ["```sh", "run it", "```"]
    assert (
        f"| {MOBILENET} | ort-int8 | 95.00 %, top-1 kept | **96.00 %** | failed: does not load "
        "| 86.00 % | 97.00 % | reached |"
    ) in found
    assert (
        f"| {MOBILENET} | ort-int8 | 500 | 65.00 % | 64.00 % [-2.00, +1.00] | - "
        "| 65.00 % [-1.00, +3.00] | - |"
    ) in found
    assert "Every goal is reached, and bmopt is above every rival that was measured." in found
    assert f"- {MOBILENET}, ort-int8: ModelOpt max 97.00 %; bmopt 96.00 %" in found


def test_losses_are_listed() -> None:
    lost = dataclasses.replace(MODEL, schemes=(scheme_result(0.8, NNCF),))
    found = lines("accuracy", lost)
    assert any(line.endswith("| **missed** |") for line in found)
    assert (
        f"- {MOBILENET}, ort-int8: agrees on 80.00 %, 95.00 % asked for; below NNCF (86.00 %)"
    ) in found


def test_fp32_stands_in_for_what_a_peer_cannot_do() -> None:
    ours, failed, wrong, *_ = LATENCY.rows
    assert ours_over(ours, failed) == ours_over(ours, wrong) == 0.5
    assert ours_over(failed, LATENCY.rows[3]) == pytest.approx(2.5)
    found = lines("latency")
    assert "| ORT default | 0.500 | 1 |" in found
    assert "| NNCF | 1.250 | - |" in found
    assert "The best single peer is NNCF: bmopt / it is 1.250. **That is slower.**" in found
    assert f"Warning: {MOBILENET}: a busy host" in found
    assert any("| agrees on 10.00 % only |" in line for line in found)


def test_means_are_geometric_over_the_models() -> None:
    fast = dataclasses.replace(
        LATENCY,
        rows=(
            LATENCY.rows[0],
            Row("nncf_openvino", "NNCF", to_fp32=ratio(0.625), ours_to_it=ratio(0.8)),
        ),
    )
    two = dataclasses.replace(
        RESULTS, models=(MODEL, dataclasses.replace(MODEL, name="net", latency=fast))
    )
    found = pages.sections(two)["latency"].splitlines()
    assert "| NNCF | 1.000 | - |" in found
    assert "| FP32 | 0.500 | - |" in found


def test_ladder_and_costs_are_shown() -> None:
    assert f"| {MOBILENET} | 80.00 %, 12.3 dB | x |" in lines("ladder")
    assert f"| {MOBILENET} | 128 | 2.000 s | 30.0 s, 200 MB | 3.0 s, 160 MB | 3.0 |" in lines(
        "cost"
    )


def test_the_page_takes_what_there_is(tmp_path: Path) -> None:
    pages.require_marks(ROOT / "docs" / "accuracy.md")
    page = tmp_path / "page.md"
    page.write_text((ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8"), encoding="utf-8")
    pages.write_docs(page, RESULTS)
    without = dataclasses.replace(MODEL, latency=None, ladders=())
    pages.write_docs(page, dataclasses.replace(RESULTS, models=(without,)))
    text = page.read_text(encoding="utf-8")
    for part in pages.sections(RESULTS).values():
        assert text.count(part) == 1
    page.write_text("<!-- accuracy:begin -->", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md: needs the lines"):
        pages.write_docs(page, RESULTS)


def test_results_round_trip(tmp_path: Path) -> None:
    write_results(RESULTS, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == RESULTS


def test_the_command_measures_the_same_again() -> None:
    given = ["--only", "vit", "--no-peers", "--ablation", "--duration", "0", "--preset", "best"]
    words = command(parser().parse_args(given)).split()
    again = parser().parse_args(words[2:])
    assert (again.only, again.no_peers, again.ablation, again.duration, again.preset) == (
        "vit", True, True, 0.0, "best",
    )  # fmt: skip


def write_model(path: Path, last: str) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3] x) => (float[N, 3] y)\n'
        f"<float[3] b = {{0, 0, {last}}}> {{ y = Add(x, b) }}"
    )
    onnx.save(onnx.parser.parse_model(text), str(path))


@pytest.fixture
def model(tmp_path: Path) -> SharedModel:
    write_model(tmp_path / "net.onnx", "0")
    rows = np.eye(3, dtype=np.float32)[np.arange(40) % 3]
    np.savez(tmp_path / "val.npz", x=rows, labels=np.arange(40) % 3)
    samples = str(tmp_path / "val.npz")
    return SharedModel("net", tmp_path / "net.onnx", samples, samples)


def test_samples_are_stored_once(tmp_path: Path, model: SharedModel) -> None:
    store, folder = Store(tmp_path / "steps"), tmp_path / "peers"
    first = stored_task(model, folder, 8, store)
    (folder / "kept").touch()
    assert stored_task(model, folder, 8, store) == first
    assert (folder / "kept").exists()
    assert first.count == 8
    assert stored_task(model, folder, 0, store).count == 40
    assert not (folder / "kept").exists()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.target)
def test_everything_runs_on_the_same_samples(
    tmp_path: Path, model: SharedModel, scheme: Scheme
) -> None:
    write_model(tmp_path / "off.onnx", "2")
    (tmp_path / "odd.onnx").write_bytes(b"no model")
    made = {
        "bmopt": Made(f"ort:{model.path}"),
        "off": Made(f"ort:{tmp_path / 'off.onnx'}"),
        "odd": Made(f"ort:{tmp_path / 'odd.onnx'}"),
        "none": Made(note="skipped: no network"),
    }
    found = scores(model, scheme, made)
    assert (found.target, found.samples, found.fp32_top1) == (scheme.target, 30, 1.0)
    same, off, odd, none = found.rows
    assert (same.agreement, same.top1) == (1.0, 1.0)
    assert (off.agreement, off.top1) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert off.change is not None
    assert -1 < off.change.low < -2 / 3 < off.change.high < 0
    assert odd.note.startswith("failed: odd.onnx")
    assert none.note == "skipped: no network"


def scores(model: SharedModel, scheme: Scheme, made: dict[str, Made]) -> SchemeResult:
    task = Task(model, model.path.parent, ("x",), ((1, 3),), ("float32",), 8, 8)
    return scored(model, scheme, made, {name: name for name in made}, 30, task)


TWICE = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3] x) => (float[N, 3] y)
<float s = {1.0}, float t = {0.3}, int8 z = {0}> {
  a = QuantizeLinear(x, s, z)
  b = DequantizeLinear(a, s, z)
  c = QuantizeLinear(b, t, z)
  d = DequantizeLinear(c, t, z)
  y = Identity(d)
}"""


def test_graphs_for_another_engine_run_as_written(tmp_path: Path, model: SharedModel) -> None:
    """Of two Q/DQ pairs in a row ONNX Runtime makes one, which rounds only once."""
    onnx.save(onnx.parser.parse_model(TWICE), str(tmp_path / "twice.onnx"))
    np.savez(
        tmp_path / "val.npz",
        x=np.tile(np.float32([0.6, 1.4, 0]), (30, 1)),
        labels=np.ones(30, np.int64),
    )
    made = {"bmopt": Made(f"ort:{tmp_path / 'twice.onnx'}")}
    assert scores(model, ORT, made).rows[0].agreement == 1.0
    assert scores(model, TRT, made).rows[0].agreement == 0.0


def test_inference_is_timed(model: SharedModel) -> None:
    assert 0 < inference_seconds(model, 40) < 5
