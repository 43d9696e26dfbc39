"""The summary of a compile report, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmopt.cli.accuracy_summary import print_budget, print_refinement
from bmopt.cli.board_summary import print_on_board
from bmopt.cli.output import print_table, say
from bmopt.cli.pruning_summary import print_pruned
from bmopt.cli.units import percent_text, size_text, time_text

_SHOWN_NODES = 10

Report = Mapping[str, Any]


def print_summary(report: Report, *, verbose: bool = False) -> None:
    """Print what was made, how accurate and how fast it is, and what stayed in float.

    Args:
        report: As ``compile_model`` returns it.
        verbose: List every node left in float rather than the first few.
    """
    kind = _kind(report["target"])
    reference = "source" if kind == "FP32" or report.get("imported") is not None else "FP32"
    rows = [*_size_rows(report), *_accuracy_rows(report), *_latency_rows(report)]
    print_table((report["target"], reference, kind, ""), rows, right=(1, 2))
    say()
    _print_verdict(report, reference, kind)
    if report.get("pruning") is not None:
        print_pruned(report["pruning"])
    if report.get("imported") is not None:
        _print_imported(report["imported"], verbose=verbose)
    if report.get("budget") is not None:
        print_budget(report["budget"])
    if report.get("refinement") is not None:
        print_refinement(report["refinement"], verbose=verbose)
    if "placement" in report:
        _print_placement(report["placement"], kind, verbose=verbose)
    if "cast" in report:
        _print_cast(report["cast"], verbose=verbose)
    _print_engine(report)
    if report.get("kernel_differences") is not None:
        _print_differences(report["kernel_differences"])
    if report.get("on_board") is not None:
        print_on_board(report["on_board"])
    _print_use(report["artifact"]["path"], [entry["name"] for entry in report["inputs"]])


def print_build(report: Report) -> None:
    """Print what ``build_artifact`` made."""
    _print_engine(report)
    for name, value in report["golden_sqnr_db"].items():
        shown = "cannot be compared" if value is None else f"{_decibels(value)} SQNR"
        say(f"output {name!r} against the graph's golden outputs: {shown}")
    kind = _kind(report["target"])
    print_table((report["target"], "rival", kind, ""), _latency_rows(report), right=(1, 2))
    _print_verdict(report, "source", kind)
    if report.get("on_board") is not None:
        print_on_board(report["on_board"])
    say()
    say(f"artifact: {report['artifact']['path']}", style="bold")


def _kind(target: str) -> str:
    """Return the precision of a target as a heading."""
    return target.partition(":")[0].rpartition("-")[2].upper()


def brief(report: Report) -> dict[str, Any]:
    """Return the report without raw samples, which are in the artifact's ``report.json``."""
    return {key: value for key, value in report.items() if key != "measurement"}


def _size_rows(report: Report) -> list[tuple[str, ...]]:
    before, after = report["source"]["size_bytes"], report["artifact"]["size_bytes"]
    nodes = report["nodes"]
    return [
        ("size", size_text(before), size_text(after), f"x {after / max(before, 1):.2f}"),
        ("nodes", str(nodes["before"]), str(nodes["after"]), ""),
    ]


def _accuracy_rows(report: Report) -> list[tuple[str, ...]]:
    found = report["accuracy"]
    if found is None:
        return []
    metric, samples = found["metric"], f"{found['samples']} samples"
    rows = []
    if found.get("note"):
        samples = f"{samples}, {found['note']}"
    if metric not in ("none", "agreement"):
        scores = (_score(found[side], metric) for side in ("reference", "candidate"))
        rows.append((metric, *scores, samples + _difference(found)))
    if found["agreement"] is not None:
        rows.append(("agreement", "", percent_text(found["agreement"]), samples))
    rows += [
        (f"SQNR {output}", "", _decibels(value), samples)
        for output, value in found["sqnr_db"].items()
    ]
    return rows


def _difference(found: Mapping[str, Any]) -> str:
    """Return the 99 % interval of what top-1 gained, in points."""
    interval = found.get("difference")
    if interval is None or found["metric"] != "top1":
        return ""
    low, high = (100 * float(end) for end in interval)
    return f", {low:+.2f} to {high:+.2f} points"


def _score(scores: object, metric: str) -> str:
    """Return the metric of one side, given alone or among others."""
    value = scores.get(metric) if isinstance(scores, Mapping) else scores
    if metric == "sqnr":
        return _decibels(value) if isinstance(value, float | str) else "-"
    if isinstance(value, float | int) and not 0 <= value <= 1:
        return f"{value:.4g}"
    return percent_text(value if isinstance(value, float | int) else None)


def _decibels(value: float | str) -> str:
    return f"{float(value):.1f} dB"


def _latency_rows(report: Report) -> list[tuple[str, ...]]:
    found = report["latency"]
    if found is None:
        return []
    threads = "1 thread" if found["threads"] == 1 else f"{found['threads']} threads"
    times = (time_text(found[side]) for side in ("reference_ns", "candidate_ns"))
    rival = found.get("reference", "source")
    note = threads if rival == "source" else f"beside {rival}"
    rows = [("latency", *times, f"x {found['ratio']:.3f} {_interval(found)}, {note}")]
    device = found.get("device_ns") or {}
    if device:
        shown = (time_text(device[s]) if s in device else "-" for s in ("source", "artifact"))
        rows.append(("on the device", *shown, "median between events"))
    return rows


def _interval(found: Mapping[str, Any]) -> str:
    high = "inf" if found["high"] is None else f"{float(found['high']):.3f}"
    return f"[{found['low']:.3f}, {high}]"


def _print_verdict(report: Report, reference: str, kind: str) -> None:
    found = report["latency"]
    if found is None:
        note = report.get("latency_note")
        say(f"latency was not measured{f': {note}' if note else ''}")
        return
    ratio, verdict = float(found["ratio"]), found["verdict"]
    rival = found.get("reference", "source")
    reference = reference if rival == "source" else rival
    if verdict == "slower":
        say(f"{kind} is SLOWER than {reference} here: {ratio:.2f} x the time", style="bold red")
    elif verdict == "faster":
        say(f"{kind} is {1 / ratio:.2f} x as fast as {reference}", style="bold green")
    elif verdict == "equivalent":
        say(f"{kind} and {reference} take the same time")
    else:
        say(f"latency is undecided: {_interval(found)} spans 1; a longer --duration may tell")
    if note := report.get("latency_note"):
        say(note)


def _print_engine(report: Report) -> None:
    engine, note = report.get("engine"), report.get("engine_note")
    if engine is not None:
        devices = f" for {' '.join(engine['devices'])}" if engine["devices"] else ""
        say(
            f"engine: {engine['engine']} {engine['version']}{devices}, "
            f"{size_text(engine['size_bytes'])}, built in {engine['seconds']:.1f} s"
        )
        if engine.get("tuning"):
            say(engine["tuning"])
    elif note:
        say(note)
    if left := report.get("fallbacks"):
        node, provider = next(iter(left.items()))
        say(f"{len(left)} nodes fall back to another provider, first {node!r} to {provider}")


def _print_cast(cast: Mapping[str, Any], *, verbose: bool) -> None:
    kept = cast["float_nodes"]
    say(f"floats are {cast['dtype']}, but for {len(kept)} nodes that stay float32")
    rows = list(kept.items())
    print_table(("node in float32", "reason"), rows if verbose else rows[:_SHOWN_NODES])


def _print_imported(notes: Mapping[str, str], *, verbose: bool) -> None:
    kept = "the source came quantised: its ranges and weight scales are kept"
    say(f"{kept}, but for {len(notes)} nodes:" if notes else kept)
    rows = list(notes.items())
    print_table(("node", "what was changed"), rows if verbose else rows[:_SHOWN_NODES])


def _print_differences(found: Mapping[str, Any]) -> None:
    said = f"{found['off']:,} of {found['elements']:,} elements are not the Q/DQ graph's"
    if not found["off"]:
        say(f"kernels alone, fed what the graph has: {said}")
        return
    steps = "1 step" if found["most"] == 1 else f"{found['most']} steps"
    say(
        f"kernels alone, fed what the graph has: {said}, by {steps} at most; most of them in "
        f"{found['tensor']!r}"
    )


def _print_audit(audit: Mapping[str, Any]) -> None:
    share = audit["integer_work"]
    if share is None:
        return
    where = f"{audit['engine']} {audit['version']} for {' '.join(audit['devices'])}"
    say(f"audit by {where}: {percent_text(share)} of the multiply-adds marked 8-bit run so")
    rows = list(audit["in_float"].items())
    print_table(("marked 8-bit, runs in float", "why"), rows[:_SHOWN_NODES])


def _print_placement(placement: Mapping[str, Any], kind: str, *, verbose: bool) -> None:
    integer, rest = placement["integer"], placement["float"]
    audit = placement.get("audit")
    verb = "run" if audit is None else "are to run"
    say(f"{integer} of {integer + rest} nodes {verb} in {kind}")
    if note := placement.get("note"):
        say(note)
    if audit is not None:
        _print_audit(audit)
    left = [node for node in placement["nodes"] if not node["integer"]]
    shown = left if verbose else left[:_SHOWN_NODES]
    rows = [(n["node"], n["op"], n["kernel"] or "-", n["reason"]) for n in shown]
    if rows:
        say()
    print_table(("node in float", "op", "kernel", "reason"), rows)
    if len(left) > len(shown):
        say(f"and {len(left) - len(shown)} more; --verbose lists them")


def _print_use(path: str, names: Sequence[str]) -> None:
    say()
    say(f"artifact: {path}", style="bold")
    feeds = ", ".join(f"{name!r}: array" for name in names) or "..."
    say(f"run it with: bmopt.load({str(path)!r}).run({{{feeds}}})")
