"""Every verb on real files, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.cli.main import main
from bmopt.demo_data import demo_files
from bmopt.optimizer.registry import pass_names
from tests.cli.process import bmopt

MODEL = str(demo_files().model)
CALIB = str(demo_files().calib)
QUICK = ("--duration", "0", "--method", "minmax", "--placement", "all", "--calib-limit", "32")


def document_of(text: str) -> Any:
    return json.loads(text, parse_constant=pytest.fail)


def failing(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a verb that must refuse with code 2 and return its one line."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("bmopt: error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def test_compile_writes_an_artifact_and_one_document(own_folder: Path) -> None:
    done = bmopt("compile", MODEL, "--calib", CALIB, *QUICK, "--keep-float", "stem_conv", "--json")
    assert done.returncode == 0
    report = document_of(done.stdout)
    assert report["target"].startswith("ort-int8")
    assert report["artifact"]["path"] == "digits.ort-int8"
    assert "measurement" not in report
    assert all(line.startswith("bmopt: warning: ") for line in done.stderr.splitlines())
    assert document_of((own_folder / "digits.ort-int8" / "manifest.json").read_text())
    kept = [node["node"] for node in report["placement"]["nodes"] if not node["integer"]]
    assert kept == ["stem_conv"]


def test_flags_override_the_recipe_which_overrides_defaults(own_folder: Path) -> None:
    recipe = own_folder / "mine.toml"
    recipe.write_text('target = "ort-fp32"\nseed = 7\nbatch_size = 3\nduration_s = 0\n')
    flags = ("--recipe", str(recipe), "--batch-size", "5", "-o", "out")
    assert main(["compile", MODEL, *flags]) == 0
    written = (own_folder / "out" / "recipe.toml").read_text()
    assert 'target = "ort-fp32"' in written
    assert "seed = 7" in written
    assert "batch_size = 5" in written
    assert "threads = 1" in written


def test_compile_prints_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", MODEL, "--calib", CALIB, *QUICK, "-o", "out"]) == 0
    shown = capsys.readouterr().out
    assert "nodes run in INT8" in shown
    assert "bmopt.load('out')" in shown


def test_default_folder_is_named_after_model_and_target(own_folder: Path) -> None:
    flags = ("--target", "ort-int8:x86-avx2", "--calib", CALIB, *QUICK)
    assert main(["compile", MODEL, *flags]) == 0
    assert (own_folder / "digits.ort-int8-x86-avx2" / "model.onnx").is_file()


def test_a_folder_with_other_files_is_never_replaced(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "thesis").mkdir()
    (own_folder / "thesis" / "text.tex").write_text("years of work")
    flags = ("--target", "ort-fp32", "--duration", "0", "-o", "thesis")
    assert "choose a new or empty folder" in failing("compile", MODEL, *flags, capsys=capsys)
    assert [path.name for path in own_folder.rglob("*")] == ["thesis", "text.tex"]


def test_an_artifact_is_replaced_by_the_next() -> None:
    flags = ("--target", "ort-fp32", "--duration", "0", "-o", "out")
    assert [main(["compile", MODEL, *flags]) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--target", "ort-int3"), "unknown target 'ort-int3'; valid are ort-fp32, ort-fp16"),
        (("--target", "ort-int8:z80"), "unknown device 'z80'"),
        (("--target", "ort-int8"), "--calib"),
        (("--calib", "nope.npz"), "nope.npz: no such file"),
        (("--calib", CALIB, "--metric", "taste"), "metric 'taste': choose one of top1"),
        (("--calib", CALIB, "--max-drop", "1"), "judged on samples that were not calibrated on"),
        (("--calib", CALIB, "--steps", "magic"), "unknown step 'magic'; steps are ranges"),
        (("--recipe", "nope.toml"), "nope.toml: cannot be read"),
    ],
)
def test_compile_refuses(
    flags: tuple[str, ...], message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failing("compile", MODEL, *flags, capsys=capsys)
    assert not list(own_folder.iterdir())


BROKEN = {"missing": None, "random": np.random.default_rng(0).bytes(4000), "empty": b""}


@pytest.mark.parametrize("kind", [*BROKEN, "cut", "folder"])
@pytest.mark.parametrize(
    "verb",
    [
        ("inspect",),
        ("optimize", "-o", "out"),
        ("calibrate", "-o", "out", "--data", "random:2"),
        ("compile", "-o", "out", "--calib", "random:2"),
    ],
    ids=lambda verb: verb[0],
)
def test_a_broken_model_is_one_line_and_leaves_nothing(
    verb: tuple[str, ...], kind: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_folder / "m.onnx"
    data = Path(MODEL).read_bytes()[:5000] if kind == "cut" else BROKEN.get(kind)
    if kind == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    before = list(own_folder.iterdir())
    assert "m.onnx: " in failing(verb[0], str(path), *verb[1:], capsys=capsys)
    assert list(own_folder.iterdir()) == before


def test_optimize_prints_passes_and_verification(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("-o", "out.onnx", "-p", "fold-constants,drop-dead", "--verbose")
    assert main(["optimize", MODEL, *flags]) == 0
    shown = capsys.readouterr().out
    assert (own_folder / "out.onnx").is_file()
    assert shown.index("fold-constants") < shown.index("drop-dead")
    assert "verification: " in shown
    assert "out.onnx: 22 -> " in shown


def test_optimize_prints_one_document_and_models_beside_it() -> None:
    flags = ("-o", "out.onnx", "-p", "drop-dead", "--no-verify", "--print-after-all", "--json")
    done = bmopt("optimize", MODEL, *flags)
    assert done.returncode == 0
    report = document_of(done.stdout)
    assert report["out"] == "out.onnx"
    assert report["log"]["verification"]["verdict"] == "not verified"
    assert "-- after drop-dead\n" in done.stderr
    assert "Conv" in done.stderr


def test_optimize_never_writes_to_its_input(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = own_folder / "m.onnx"
    copy.write_bytes(Path(MODEL).read_bytes())
    line = failing("optimize", "m.onnx", "-o", "./m.onnx", "-p", "drop-dead", capsys=capsys)
    assert "never written to" in line
    assert copy.read_bytes() == Path(MODEL).read_bytes()


def test_optimize_refuses_what_is_no_file(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "folder").mkdir()
    line = failing("optimize", MODEL, "-o", "folder", "-p", "drop-dead", capsys=capsys)
    assert "folder: is no regular file" in line


@pytest.mark.parametrize("flags", [("--list-passes",), ("-p", "help")])
def test_passes_are_listed(flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["optimize", *flags])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    listed = {line.split()[0] for line in shown.splitlines()[1:] if line}
    assert set(pass_names()) | {"simplify"} <= listed
    assert "``" not in shown


def test_an_unknown_pass_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    line = failing("optimize", MODEL, "-o", "o.onnx", "-p", "drop-ded", capsys=capsys)
    assert "did you mean drop-dead" in line


def test_calibrate_writes_ranges(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--data", CALIB, "--limit", "8", "-o", "r.json")
    assert main(["calibrate", MODEL, *flags, "--json"]) == 0
    found = document_of(capsys.readouterr().out)
    table = document_of((own_folder / "r.json").read_text())
    assert found["samples"] == table["samples"] == 8
    assert found["tensors"] == len(table["tensors"]) > 0
    assert main(["calibrate", MODEL, *flags]) == 0
    assert f"r.json: ranges of {found['tensors']} tensors on 8" in capsys.readouterr().out


def test_inspect_shows_what_the_document_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", MODEL, "--json"]) == 0
    short = document_of(capsys.readouterr().out)
    assert main(["inspect", MODEL, "--json", "--layers"]) == 0
    full = document_of(capsys.readouterr().out)
    assert short["nodes"] == len(full["nodes"]) == sum(short["ops"].values())
    assert main(["inspect", MODEL, "--layers"]) == 0
    shown = capsys.readouterr().out
    assert all(node["name"] in shown for node in full["nodes"])
    assert all(value["name"] in shown for value in (*full["inputs"], *full["outputs"]))
    assert "MACs of one inference: " in shown


def test_targets_say_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--json"]) == 0
    found = document_of(capsys.readouterr().out)
    assert {"ort-fp32", "ort-int8", "ort-int8:arm64-dotprod"} <= {t["target"] for t in found}
    assert all(t["reason"] for t in found if not (t["compile"] and t["run"]))
    assert main(["targets"]) == 0
    shown = capsys.readouterr().out
    assert all(t["target"] in shown and t["reason"] in shown for t in found)


def test_doctor_names_the_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = document_of(capsys.readouterr().out)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime" in shown
    assert all(finding["advice"] in shown for finding in found)


def test_cache_is_shown_and_cleared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "cache" / "step" / "ab" / ("ab" * 32)
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"x" * 1500)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'cache'}: 1.5 kB\n"
    assert main(["cache", "--clear", "--json"]) == 0
    found = document_of(capsys.readouterr().out)
    assert found == {"folder": str(tmp_path / "cache"), "size_bytes": 1500, "cleared": True}
    assert not stored.exists()


def test_demo_compiles_the_shipped_model(own_folder: Path) -> None:
    done = bmopt("demo", "-o", "d", "--json")
    assert done.returncode == 0
    report = document_of(done.stdout)
    assert report["accuracy"]["metric"] == "top1"
    assert report["latency"]["verdict"] in ("faster", "slower", "equivalent", "undecided")
    assert (own_folder / "d" / "report.json").is_file()
    page = (own_folder / "d" / "report.html").read_text(encoding="utf-8")
    assert "What runs in integers" in page
    assert "Distribution of latencies" in page
