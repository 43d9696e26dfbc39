from __future__ import annotations

import dataclasses
import io
import re
import sys

import pytest

from bmopt.cli.bench_tables import print_bench
from bmopt.core.bench_document import (
    Accuracy,
    BenchDocument,
    Energy,
    GateLine,
    PlacedNode,
    Placement,
    Subject,
    TensorSqnr,
    Throughput,
)
from tests.bench.report.documents import (
    failed_document,
    full_document,
    layers,
    measurement,
    odd_document,
    one_subject_document,
    processes,
    wide_document,
)

TITLES = [
    "Verdicts",
    "Subjects",
    "Noise floor",
    "Accuracy",
    "Scenarios",
    "Start-up and memory",
    "Throughput in samples per second",
    "Energy",
    "Where the time goes",
    "Where the error comes from",
    "What runs in integers",
    "Gate",
    "Failed",
    "Warnings",
]


def printed(document: BenchDocument, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Return the lines of every section, runs of spaces made one, by the section's title."""
    print_bench(document)
    text = capsys.readouterr().out
    found: dict[str, list[str]] = {}
    for part in text.strip().split("\n\n"):
        title, *lines = part.splitlines()
        if title not in TITLES:
            title, lines = list(found)[-1], [title, *lines]
        found.setdefault(title, []).extend(re.sub(" +", " ", line).strip() for line in lines)
    return found


def test_a_full_document_prints_every_section_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(full_document(), capsys)
    assert list(found) == [title for title in TITLES if title != "Failed"]
    for title, line in {
        "Verdicts": "worse: top1 71.21 % beside 71.88 % on 5000 samples; 99 % interval of the "
        "difference -1.21 to -0.12 points.",
        "Subjects": "int8 2.42 ms 2.47 ms 2.52 ms 0.387 0.384 to 0.390 faster 3.70 MB",
        "Noise floor": "The same model twice, measured in the same way: ratio 0.999, 99 % "
        "interval 0.995 to 1.003; as it should be: no difference.",
        "Accuracy": "int8 mse 0.200 0.210 +0.00400 to +0.0170 - 5000",
        "Scenarios": "server, int8: rate with p99 <= 100 ms 500 queries/s",
        "Start-up and memory": "load fp32 22.4 ms 21.0 ms 23.1 ms 5",
        "Throughput in samples per second": "int8 2 714 1082",
        "Energy": "int8: not available: no meter on this host",
        "Where the time goes": "not attributed 9.00 us 6.8 %",
        "Where the error comes from": "block3/conv int8 11.8 dB",
        "What runs in integers": "1 near the input float is faster",
        "Gate": "size: -73.9 %, margin -80 %: failed",
        "Warnings": "the host was busy (load 5.7 on 2 CPUs): stop what else runs, measure again",
    }.items():
        assert line in found[title]
    assert found["Verdicts"][1].startswith("faster: int8 is 2.58 times as fast as fp32: ")
    assert "fp32: 31.2 mJ per inference (RAPL)" in found["Energy"]


def test_an_empty_document_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_bench(BenchDocument())
    assert capsys.readouterr().out == ""


def test_one_subject_has_no_verdicts_and_no_empty_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(one_subject_document(), capsys)
    assert "Verdicts" not in found
    assert found["Subjects"] == ["median p90 p99 size", "fp32 6.25 ms 6.37 ms 6.50 ms 14.2 MB"]
    assert found["Accuracy"] == ["metric value samples", "fp32 top1 71.88 % 5000"]
    assert found["Start-up and memory"][:2] == ["median processes", "load fp32 21.0 ms 1"]
    assert found["Energy"] == ["fp32: not available: no meter on this host"]
    assert "Gate" not in found


def test_a_subject_that_failed_is_named_with_its_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = printed(failed_document(), capsys)
    assert found["Subjects"][-1] == "int4 - - - - - failed -"
    assert found["Failed"] == [
        "int4: ORT-INT4: the engine has no kernel for MatMulNBits (node head/MatMul)"
    ]
    assert not any("int4" in line for line in found["Verdicts"])
    assert list(found)[-2:] == ["Failed", "Warnings"]


def test_results_that_came_before_a_failure_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = full_document()
    fp32, int8, fp16 = document.subjects
    broken = dataclasses.replace(int8, error="it hung")
    document = dataclasses.replace(document, subjects=(fp32, broken, fp16))
    found = printed(document, capsys)
    assert any("int8 is 2.58 times as fast" in line for line in found["Verdicts"])
    assert "0.384 to 0.390 failed" in found["Subjects"][2]
    assert found["Failed"] == ["int8: it hung"]


def test_the_gate_names_candidates_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        GateLine("b", "p50 +3%", "passed", "p50: passed"),
        GateLine("c", "p50 +3%", "undecided", "p50: undecided; p50 needs 3 turns, 1 ran"),
        GateLine("b", "size +1%", "passed", "size: passed"),
    ]
    found = printed(BenchDocument(gate=tuple(lines)), capsys)
    assert found == {
        "Gate": [
            "b",
            "p50: passed",
            "size: passed",
            "c",
            "p50: undecided; p50 needs 3 turns, 1 ran",
            "undecided: 3 conditions: 2 passed, 1 undecided.",
        ]
    }


def test_percentiles_say_how_many_queries_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    few = measurement({"a": 1e6, "b": 1e6}, turns=4, samples=20)
    found = printed(BenchDocument(measurement=few), capsys)["Subjects"]
    assert found[0] == "median p90 ratio 99 % interval verdict"
    assert found[-1] == "p99 needs 459 queries, 160 ran"
    blocks = tuple(
        dataclasses.replace(one, start_ns=one.start_ns[:1], latency_ns=one.latency_ns[:1])
        if one.variant == "b"
        else one
        for one in few.blocks
    )
    fewer = dataclasses.replace(few, blocks=blocks)
    failed = (Subject("a"), Subject("b"), Subject("c", error="died"))
    found = printed(BenchDocument(subjects=failed, measurement=fewer), capsys)["Subjects"]
    assert found[-3:] == [
        "a: p99 needs 459 queries, 160 ran",
        "b: p90 needs 44 queries, 8 ran",
        "b: p99 needs 459 queries, 8 ran",
    ]


def test_only_the_longest_layers_and_the_worst_tensors_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors = tuple(TensorSqnr(f"t{i}", 90.0 - i, "a") for i in range(30))
    document = BenchDocument(layers=(layers("a", 40), layers("b", 10)), layer_sqnr=tensors)
    found = printed(document, capsys)
    times = found["Where the time goes"]
    assert times[0] == "a: 180 us per inference while profiled; the longest 10 of 40"
    assert times[2] == "block0/conv, block0/relu Conv float32 40.0 us 22.2 % compute 4.00 us"
    assert times[12] == "not attributed 9.00 us 5.0 %"
    assert times[13].startswith("b: ")
    assert times[13].endswith(" per inference while profiled")
    worst = found["Where the error comes from"]
    assert worst[1] == "t29 a 61.0 dB"
    assert (len(worst), worst[-1]) == (12, "the lowest 10 of 30 tensors")


def test_the_commonest_reasons_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = tuple(
        PlacedNode(f"n{i}-{j}", "Conv", False, reason=f"why {i}")
        for i in range(8)
        for j in range(9 - i)
    )
    placed = Placement("a", (*nodes, PlacedNode("x", "Conv", True)), method="mse")
    found = printed(BenchDocument(placement=(placed,)), capsys)["What runs in integers"]
    assert found[0] == ("a: 1 of 45 nodes with an integer kernel run in integers; ranges by mse")
    assert found[2:] == [*(f"{9 - i} why {i}" for i in range(5)), "and 3 more reasons"]


def test_what_all_subjects_have_in_common_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    energy = tuple(Energy(name, note="not available: no meter") for name in "ab")
    agreement = Accuracy("b", "agreement", 0.5, samples=16)
    document = BenchDocument(
        subjects=(Subject("a"), Subject("b")), energy=energy, accuracy=(agreement,)
    )
    found = printed(document, capsys)
    assert found["Energy"] == ["a, b: not available: no meter"]
    assert found["Verdicts"] == ["b", "agreement 50.00 % on 16 samples."]


def test_many_batch_sizes_are_several_tables(capsys: pytest.CaptureFixture[str]) -> None:
    speeds = tuple(Throughput("a", 2**power, 1, 100.0 + power) for power in range(9))
    found = printed(BenchDocument(throughput=speeds), capsys)["Throughput in samples per second"]
    assert found == [
        "threads batch 1 batch 2 batch 4 batch 8 batch 16 batch 32 batch 64",
        "a 1 100 101 102 103 104 105 106",
        "threads batch 128 batch 256",
        "a 1 107 108",
    ]


def test_five_subjects_fit_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    document = wide_document()
    print_bench(dataclasses.replace(document, energy=(), gate=(), placement=()))
    text = capsys.readouterr().out
    tables = text[text.index("Subjects") : text.index("Noise floor")]
    tables += text[text.index("Accuracy") :]
    assert max(map(len, tables.splitlines())) <= 100


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_wraps_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_bench(wide_document())
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert max(map(len, lines)) <= 100
    first = next(index for index, line in enumerate(lines) if line.startswith("  faster: "))
    assert lines[first + 1] == "    99 % interval 0.384 to 0.391."


def test_odd_texts_stay_one_line_and_plain(capsys: pytest.CaptureFixture[str]) -> None:
    document = odd_document()
    error = Subject("c", error="first\nsecond")
    print_bench(dataclasses.replace(document, subjects=(*document.subjects, error)))
    shown = capsys.readouterr().out
    assert "c: first second\n" in shown
    assert shown.isascii()
    print_bench(BenchDocument(processes=processes("m\u00f6del", 2)))
    assert "m\u00f6del" in capsys.readouterr().out
