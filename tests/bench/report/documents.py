"""Documents to draw: made up, every section filled, always the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bmopt.core.bench_document import (
    Accuracy,
    BenchDocument,
    Energy,
    GateLine,
    LayerRow,
    LayerTimes,
    PlacedNode,
    Placement,
    ProcessCost,
    Subject,
    TensorSqnr,
    Throughput,
)
from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.core.prune_trials import Point, PruneTrials
from bmopt.core.ranges import Interval
from bmopt.core.scenario import (
    MEASURE,
    OFFLINE,
    SERVER,
    SINGLE_STREAM,
    ScenarioRun,
    ScenarioSettings,
    Trial,
)

HOST = Environment({"cpu.model": "made up", "cpu.quota": None, "threads.intra_op": 1})
ODD = """<b>&"'</b></script><script>alert(1)</script>"""
"""A name that must never reach the page as it is."""


def measurement(
    medians_ns: Mapping[str, float],
    *,
    turns: int = 12,
    samples: int = 40,
    noise: float = 0.01,
    seed: int = 0,
) -> Measurement:
    """Return blocks in ABBA order with log-normal latencies and a slow tail."""
    generator = np.random.default_rng(seed)
    blocks: list[Block] = []
    names, now = tuple(medians_ns), 0
    for index in range(2 * turns):
        for name in names if index % 2 == 0 else names[::-1]:
            drift = generator.normal(0.0, noise / 3)
            taken = medians_ns[name] * np.exp(generator.normal(drift, noise, samples))
            taken += generator.exponential(medians_ns[name] * noise, samples)
            latencies = tuple(int(value) for value in taken)
            starts = tuple(now + int(value) for value in np.cumsum(latencies) - latencies[0])
            readings = {"cpu.frequency_mhz": 2300.0 + index, "cpu.steal_ticks": 0.0}
            blocks.append(Block(name, len(blocks), starts, latencies, readings))
            now += 50_000_000
    return Measurement(names, tuple(blocks), HOST, Settings())


def layers(subject: str, count: int = 12) -> LayerTimes:
    """Return layers from compute-bound to overhead-bound ones."""
    bounds = ("compute", "memory", "overhead")
    rows = tuple(
        LayerRow(
            nodes=(f"block{i}/conv", f"block{i}/relu"),
            op="Conv",
            ns=40_000.0 / (i + 1),
            share=0.0,
            macs=3_000_000 // (i * i + 1) + 100,
            bytes=30_000 if i < 8 else 900,
            bound=bounds[min(i // 4, 2)],
            gain_ns=4_000.0 / (i + 1),
            dtype="int8" if i % 3 else "float32",
        )
        for i in range(count)
    )
    peaks = {"float32": 60e9, "int8": 220e9}
    return LayerTimes(subject, rows, 9_000.0, peaks, 11e9)


def scenario(name: str, subject: str, queries: int) -> ScenarioRun:
    """Return a run of a scenario, at a rate of 500 queries a second where it has one."""
    generator = np.random.default_rng(1)
    scheduled = np.cumsum(generator.exponential(2e6, queries)).astype(int)
    ends = scheduled + generator.gamma(4.0, 4e5, queries).astype(int) + 1000
    settings = ScenarioSettings(name, duration_s=1.0)
    trial = Trial(
        MEASURE,
        tuple(scheduled.tolist()),
        tuple((scheduled + 1000).tolist()),
        tuple(ends.tolist()),
        planned=queries,
        rate=500.0 if name == SERVER else 0.0,
    )
    return ScenarioRun(subject, settings, (trial,))


def pruned(name: str = "cut 2") -> PruneTrials:
    points = (
        Point("source", "", 1.0, 1.0, 340_000, 0.44, (0.43, 0.45), 0.81, -0.1, 0.986),
        Point("cut 1", "latency=0.5", 0.1, 0.13, 88_100, 0.25, (0.24, 0.26), 0.34, 46.2, 0.38),
        Point(name, "latency=0.9", 0.89, 0.85, 299_000, 0.41, (0.40, 0.42), 0.79, 1.76, 0.91),
        Point("cut 3", "macs=0.9", 0.9, 0.9, 310_000),
    )
    return PruneTrials("ort-int8", "top1", points, name)


def full_document() -> BenchDocument:
    """Return a document in which every section is filled."""
    names = ("fp32", "int8", "fp16")
    sizes, digest = (14_200_000, 3_700_000, 7_100_000), "4866689d51dde36f39e88635a98c7937" * 2
    return BenchDocument(
        command="bmopt bench model.onnx model.ort-int8 --data val.npz --precision 1%",
        created="2026-11-22",
        bmopt="0.1.0",
        subjects=tuple(
            Subject(
                name, f"models/mobilenet.{name}", "artifact", f"ort-{name}", digest, size,
                "onnxruntime", {"onnxruntime": "1.31.1"},
            )
            for name, size in zip(names, sizes, strict=True)
        ),
        measurement=measurement({"fp32": 6.2e6, "int8": 2.4e6, "fp16": 6.19e6}),
        noise_floor=measurement({"A": 6.2e6, "A again": 6.2e6}, seed=3),
        scenarios=(
            scenario(SERVER, "int8", 1200),
            scenario(SINGLE_STREAM, "fp32", 60),
            scenario(OFFLINE, "fp32", 60),
        ),
        processes=(
            *processes("fp32"),
            ProcessCost("int8", 34_000_000, None, None, 71_000_000, {"runs": 5}),
        ),
        throughput=tuple(
            Throughput(name, batch, threads, speed * batch**0.2 * threads**0.8)
            for name, speed in (("fp32", 160.0), ("int8", 410.0))
            for batch in (1, 8)
            for threads in (1, 2)
        ),
        energy=(Energy("fp32", 0.0312, "RAPL"), Energy("int8", note="no meter on this host")),
        accuracy=(
            Accuracy("int8", "top1", 0.7121, 0.7188, Interval(-0.0121, -0.0012), 0.002, 5000),
            Accuracy("fp16", "top1", 0.7188, 0.7188, Interval(-0.0009, 0.0009), 1.0, 5000),
            Accuracy("int8", "agreement", 0.961, samples=5000),
            Accuracy(
                "int8", "mse", 0.21, 0.2, Interval(0.004, 0.017), None, 5000, False, False
            ),
        ),
        layers=(layers("int8"),),
        layer_sqnr=(
            TensorSqnr("logits", 24.3, "int8"),
            TensorSqnr("block3/conv", 11.8, "int8"),
            TensorSqnr("input", float("inf"), "int8"),
        ),
        pruning=(pruned(),),
        placement=(
            Placement(
                "int8",
                (
                    *(PlacedNode(f"block{i}/conv", "Conv", True, "QLinearConv") for i in range(9)),
                    PlacedNode("stem", "Conv", False, "Conv", "near the input float is faster"),
                ),
                "uint8 activations and per-channel int8 weights",
                "mse",
                "prefix=1",
            ),
        ),
        gate=gate_lines("int8"),
        environment=HOST.facts,
        warnings=("the host was busy (load 5.7 on 2 CPUs): stop what else runs, measure again",),
    )  # fmt: skip


def processes(subject: str, count: int = 5, *, scale: float = 1.0) -> tuple[ProcessCost, ...]:
    """Return what a subject cost in several processes, no two alike."""
    generator = np.random.default_rng(8)
    return tuple(
        ProcessCost(
            subject,
            int(21e6 * scale * factor),
            int(9.1e6 * scale * factor),
            int(190e6 * scale * factor),
            int(96e6 * scale) + 4096 * index,
            {"imports (ms)": 95.0 + index, "page faults": 12, "file in the page cache": False},
        )
        for index, factor in enumerate(generator.uniform(0.95, 1.1, count))
    )


def gate_lines(subject: str) -> tuple[GateLine, ...]:
    """Return one condition of every outcome."""
    top1 = "-0.67 pp, 99 % interval [-1.21, -0.12], margin -0.5 pp: undecided"
    told = (
        ("p50 +3%", "passed", "p50: -61.2 %, 99 % interval [-61.4, -61], margin +3 %: passed"),
        (
            "top1 -0.5pp",
            "undecided",
            f"top1: {top1}; about 54,000 more paired samples would decide",
        ),
        ("size -80%", "failed", "size: -73.9 %, margin -80 %: failed"),
    )
    return tuple(GateLine(subject, *line) for line in told)


def one_subject_document() -> BenchDocument:
    """Return what is measured of a model alone: nothing to compare with."""
    return dataclasses.replace(
        full_document(),
        command="bmopt bench model.onnx",
        subjects=full_document().subjects[:1],
        measurement=measurement({"fp32": 6.2e6}),
        noise_floor=None,
        scenarios=(scenario(SINGLE_STREAM, "fp32", 900),),
        processes=processes("fp32", 1),
        throughput=(Throughput("fp32", 1, 1, 160.0), Throughput("fp32", 8, 1, 171.0)),
        energy=(Energy("fp32", note="no meter on this host"),),
        accuracy=(Accuracy("fp32", "top1", 0.7188, samples=5000),),
        layers=(layers("fp32"),),
        layer_sqnr=(),
        placement=(),
        gate=(),
        warnings=(),
    )


def failed_document() -> BenchDocument:
    """Return three subjects of which one failed before anything was measured of it."""
    full = full_document()
    error = "ORT-INT4: the engine has no kernel for MatMulNBits (node head/MatMul)"
    return dataclasses.replace(
        full,
        subjects=(*full.subjects[:2], Subject("int4", "models/m.int4", error=error)),
        measurement=measurement({"fp32": 6.2e6, "int8": 2.4e6}),
        accuracy=full.accuracy[:1],
        gate=(
            *gate_lines("int8"),
            GateLine(
                "int4", "p50 +3%", "undecided",
                f"p50: margin +3 %: undecided; int4 was not timed: {error}",
            ),
        ),
    )  # fmt: skip


def wide_document() -> BenchDocument:
    """Return five subjects with long names, several metrics and 60 rows of throughput."""
    names = ("mobilenet_v2.fp32", *(f"mobilenet_v2.ort-{kind}" for kind in ("int8", "fp16")))
    names = (*names, "a-long-name/of-the-model.trt-int8", "e")
    speeds = dict(zip(names, (6.2e6, 2.4e6, 6.19e6, 1.1e6, 7.0e6), strict=True))
    full = full_document()
    return dataclasses.replace(
        full,
        subjects=tuple(
            Subject(name, f"models/{name}", target="ort-int8:x86-vnni", size_bytes=10**6 * rank)
            for rank, name in enumerate(names, start=1)
        ),
        measurement=measurement(speeds, turns=8, samples=12),
        scenarios=tuple(scenario(SERVER, name, 1200) for name in names),
        processes=tuple(
            one for rank, name in enumerate(names) for one in processes(name, scale=1 + rank / 9)
        ),
        throughput=tuple(
            Throughput(name, batch, threads, 1e9 / speeds[name] * batch**0.2 * threads**0.8)
            for name in names
            for batch in (1, 2, 4, 8, 16, 32)
            for threads in (1, 2)
        ),
        energy=tuple(Energy(name, 0.03, "RAPL package") for name in names),
        accuracy=tuple(
            Accuracy(name, metric, 0.71, 0.7188, Interval(-0.0121, -0.0012), None, 5000)
            for metric in ("top1", "top5", "f1:macro")
            for name in names[1:]
        ),
        layers=tuple(layers(name, 40) for name in names[:2]),
        gate=gate_lines(names[1]) + gate_lines(names[3]),
    )  # fmt: skip


def odd_document() -> BenchDocument:
    """Return a document in which every text is hostile."""
    nodes = (PlacedNode(ODD, ODD, False, ODD, ODD), PlacedNode(ODD, ODD, True))
    return BenchDocument(
        command=ODD,
        created=ODD,
        bmopt=ODD,
        subjects=(Subject("a", ODD, ODD, ODD, ODD, 10, ODD, {ODD: ODD}), Subject(ODD, error=ODD)),
        measurement=measurement({"a": 1e5, ODD: 2e5}, turns=4),
        scenarios=(
            ScenarioRun(ODD, ScenarioSettings(SERVER), (), failure=ODD),
            scenario(SINGLE_STREAM, ODD, 90),
        ),
        processes=(ProcessCost(ODD, facts={ODD: ODD}),),
        throughput=(Throughput(ODD, 1, 1, 5.0),),
        energy=(Energy(ODD, source=ODD, note=ODD),),
        accuracy=(Accuracy(ODD, ODD, 0.5, 0.6, Interval(-0.2, 0.1), samples=9),),
        layers=(dataclasses.replace(layers(ODD), peak_macs_per_s={ODD: 1e12}),),
        layer_sqnr=(TensorSqnr(ODD, float("-inf"), ODD),),
        pruning=(dataclasses.replace(pruned(ODD), chosen=ODD),),
        placement=(Placement(ODD, nodes, ODD, ODD, ODD),),
        gate=(GateLine(ODD, ODD, ODD, ODD), GateLine("a", ODD, "failed", ODD)),
        environment={ODD: ODD},
        warnings=(ODD,),
    )
