from __future__ import annotations

from typing import Any

import pytest

from bmopt.cli.summary import brief, print_summary

LATENCY = {
    "ratio": 0.5,
    "low": 0.45,
    "high": 0.55,
    "verdict": "faster",
    "reference_ns": 2e6,
    "candidate_ns": 1e6,
    "threads": 1,
}
NODES = [
    {"node": f"n{i}", "op": "Conv", "kernel": "Conv", "integer": i < 2, "reason": f"why {i}"}
    for i in range(14)
]
REPORT: dict[str, Any] = {
    "target": "ort-int8:x86-vnni",
    "source": {"file": "m.onnx", "size_bytes": 4000},
    "artifact": {"path": "m.ort-int8", "size_bytes": 1000},
    "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 4]}],
    "nodes": {"before": 30, "after": 40},
    "accuracy": {
        "metric": "top1",
        "samples": 200,
        "reference": {"top1": 0.91, "agreement": 1.0},
        "candidate": {"top1": 0.90, "agreement": 0.97},
        "agreement": 0.97,
        "sqnr_db": {"logits": 31.26, "same": "inf"},
        "difference": [-0.02, 0.01],
    },
    "latency": LATENCY,
    "latency_note": "",
    "placement": {"integer": 2, "float": 12, "nodes": NODES},
    "warnings": [],
}


def summary(capsys: pytest.CaptureFixture[str], *, verbose: bool = False, **changes: Any) -> str:
    print_summary({**REPORT, **changes}, verbose=verbose)
    return " ".join(capsys.readouterr().out.split())


def test_says_all_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    shown = summary(capsys)
    for part in (
        "ort-int8:x86-vnni FP32 INT8",
        "size 4 kB 1 kB x 0.25",
        "nodes 30 40",
        "top1 91.00 % 90.00 % 200 samples, -2.00 to +1.00 points",
        "agreement 97.00 % 200 samples",
        "SQNR logits 31.3 dB",
        "SQNR same inf dB",
        "latency 2 ms 1 ms x 0.500 [0.450, 0.550], 1 thread",
        "INT8 is 2.00 x as fast as FP32",
        "2 of 14 nodes run in INT8",
        "bmopt.load('m.ort-int8').run(",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "slower", "ratio": 1.3}, "INT8 is SLOWER than FP32 here: 1.30 x the time"),
        ({"verdict": "equivalent"}, "INT8 and FP32 take the same time"),
        ({"verdict": "undecided", "high": None}, "latency is undecided: [0.450, inf] spans 1"),
        ({"verdict": "undecided", "high": "inf"}, "latency is undecided: [0.450, inf] spans 1"),
        ({"threads": 4}, "[0.450, 0.550], 4 threads"),
    ],
)
def test_says_the_verdict_in_words(
    changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in summary(capsys, latency={**LATENCY, **changes})


def test_lists_the_first_float_nodes_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    short = summary(capsys)
    assert "why 2 " in short
    assert "n1 Conv" not in short
    assert "why 12" not in short
    assert "and 2 more; --verbose lists them" in short
    full = summary(capsys, verbose=True)
    assert "why 13" in full
    assert "more;" not in full


def test_what_was_not_measured_is_said_or_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    shown = summary(capsys, latency=None, latency_note="this host has no VNNI", accuracy=None)
    assert "latency was not measured: this host has no VNNI" in shown
    assert "top1" not in shown


def test_a_float_artifact_has_no_placement(capsys: pytest.CaptureFixture[str]) -> None:
    report = {key: value for key, value in REPORT.items() if key != "placement"}
    print_summary({**report, "target": "ort-fp32"})
    shown = capsys.readouterr().out
    assert "INT8" not in shown
    assert "FP32 is 2.00 x as fast as source" in shown


def test_raw_samples_stay_out_of_the_document() -> None:
    assert brief({**REPORT, "measurement": {"blocks": []}}) == REPORT
