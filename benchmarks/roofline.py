"""Where the time of an inference goes on ONNX Runtime, and what each layer could gain.

Profiles the model in a run of its own, adds the times up by the original model's nodes, measures
what this host can do at most, and prints a line for every layer: its share of the latency, its
multiply-adds and bytes, what bounds it, and what is left to gain.

    python benchmarks/roofline.py MODEL.onnx [--data SPEC] [--threads N] [--json FILE]
    python benchmarks/roofline.py ARTIFACT --source MODEL.onnx
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bmopt.backends.onnxruntime.profile import profile_model
from bmopt.bench.attribution import attribute
from bmopt.bench.peaks import Peaks, measure_peaks
from bmopt.bench.roofline import Roofline, RooflineRow, roofline, working_set_bytes
from bmopt.cli.units import count_text, size_text, time_text
from bmopt.core.host import host_facts
from bmopt.data.open import open_dataset
from bmopt.errors import BmoptError
from bmopt.graph.model_io import input_specs, load_model
from bmopt.workflow.shapes import parse_shapes

_POOL = 16
_NAME_WIDTH = 40
_HEAD = (
    f"{'layer':{_NAME_WIDTH}s} {'computes':8s} {'time':>8s} {'share':>6s} {'MACs':>7s} "
    f"{'bytes':>8s} {'ops/byte':>8s} {'least':>8s} {'bound':8s} {'gain':>8s}"
)


def measured(args: argparse.Namespace) -> Roofline:
    """Profile the model and put it under the roof."""
    path = args.model / "model.onnx" if args.model.is_dir() else args.model
    model = load_model(path)
    source = None if args.source is None else load_model(args.source)
    given = {name: shape.opt for name, shape in parse_shapes(args.shapes).items()}
    dataset = open_dataset(args.data, input_specs(model), shapes=given)
    feeds = [batch.feeds for batch in itertools.islice(dataset.batches(args.batch), _POOL)]
    threads = args.threads or host_facts(query_gpus=str).physical_cores or 1
    profile = profile_model(model, feeds, threads=threads, seconds=args.duration)
    shapes = {name: array.shape for name, array in feeds[0].items()}
    table = attribute(profile, model, source=source, shapes=shapes)
    return roofline(table, measure_peaks(threads, working_set_bytes(table)))


def lines(found: Roofline, top: int) -> Iterator[str]:
    """Yield the report: what the host can do, the layers, the sums."""
    yield from peak_lines(found.peaks)
    yield ""
    yield _HEAD
    ordered = sorted(found.rows, key=lambda row: -row.layer.ns)
    kept = set(map(id, ordered[:top] if top else ordered))
    for row in found.rows:
        if id(row) in kept:
            yield row_line(row, found)
    if len(kept) < len(found.rows):
        rest = sum(row.layer.ns for row in found.rows if id(row) not in kept)
        yield f"{len(found.rows) - len(kept)} layers more: {time_text(rest)}"
    yield ""
    yield from sum_lines(found)


def peak_lines(peaks: Peaks) -> Iterator[str]:
    """Yield the ceilings."""
    yield (
        f"{peaks.threads} threads: float32 {count_text(int(peaks.float32))}op/s "
        f"({peaks.float32_isa}), int8 {count_text(int(peaks.int8))}op/s ({peaks.int8_isa})"
    )
    for place in dict.fromkeys((peaks.working_set, peaks.memory)):
        yield (
            f"{size_text(place.buffer_bytes)} buffer: reads {size_text(int(place.read))}/s, "
            f"copies {size_text(int(place.copy))}/s"
        )


def row_line(row: RooflineRow, found: Roofline) -> str:
    """Return a line of the table."""
    work = row.layer.work
    return (
        f"{row.layer.name[-_NAME_WIDTH:]:{_NAME_WIDTH}s} {row.layer.dtype:8s} "
        f"{time_text(row.layer.ns):>8s} {found.table.share(row.layer.ns):6.1%} "
        f"{'?' if work.macs is None else count_text(work.macs):>7s} "
        f"{'?' if work.bytes is None else size_text(work.bytes):>8s} "
        f"{'?' if row.intensity is None else f'{row.intensity:.1f}':>8s} "
        f"{'?' if row.attainable_ns is None else time_text(row.attainable_ns):>8s} "
        f"{row.bound:8s} {'?' if row.gain_ns is None else time_text(row.gain_ns):>8s}"
    )


def sum_lines(found: Roofline) -> Iterator[str]:
    """Yield what the layers add up to."""
    table = found.table
    yield (
        f"latency {time_text(table.wall_ns)}; layers {time_text(table.layers_ns)}, "
        f"attributed to no layer {time_text(table.unmatched_ns)}, outside of layers "
        f"{table.outside_ns / 1e3:.1f} us ({table.share(table.outside_ns):.1%})"
    )
    yield (
        f"with the profiler {time_text(table.profiled_wall_ns)}; {time_text(table.event_ns)} was "
        f"taken off each kernel as the profiler's; medians of {table.inferences} inferences"
    )
    for bound, part in found.summary().items():
        if part.layers:
            yield (
                f"{bound + '-bound':14s} {part.layers:3d} layers {time_text(part.ns):>8s}, "
                f"to gain {time_text(part.gain_ns)}"
            )
    yield f"the layers could take {time_text(found.attainable_ns)} at the least"


def main() -> int:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model", type=Path, help="an .onnx file or an artifact folder")
    parser.add_argument("--source", type=Path, help="the model that an artifact was made of")
    parser.add_argument("--data", default="random:8", help="inputs, as bmopt compile takes them")
    parser.add_argument("--shapes", action="append", default=[], help="such as input:1x16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="0: one for every core")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds of profiling")
    parser.add_argument("--top", type=int, default=0, help="only the N longest layers")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    try:
        found = measured(args)
    except BmoptError as error:
        print(f"roofline: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(lines(found, args.top)))
    if args.json:
        args.json.write_text(json.dumps(found.to_dict(), indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
