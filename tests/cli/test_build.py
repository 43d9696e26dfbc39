from __future__ import annotations

import json
from pathlib import Path

import pytest

from bmopt.cli.main import main
from tests.cli.test_verbs import CALIB, MODEL, QUICK, failing

COMPILE = ("compile", MODEL, "--calib", CALIB, *QUICK, "-o", "out")


def compiled(target: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Compile the demo's model and return what was printed."""
    assert main([*COMPILE, "--target", target]) == 0
    return capsys.readouterr().out


def test_build_writes_a_child_and_one_document(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    shown = compiled("rtx-int8:sm89", capsys)
    assert "engine: tensorrt_rtx" in shown
    assert "100.00 % of the multiply-adds marked 8-bit run so" in shown
    assert main(["build", "out", "--level", "1", "--json", "--duration", "0"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["engine"]["devices"] == ["sm89"]
    assert (own_folder / "out.built" / "engine.rtx").is_file()


def test_an_engine_cannot_be_built_without_its_sdk(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled("trt-int8", capsys)
    if "engine.plan" in {path.name for path in (own_folder / "out").iterdir()}:
        pytest.skip("TensorRT builds here")
    assert main(["build", "out"]) == 6
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot be built here" in error
    assert not (own_folder / "out.built").exists()


def test_build_refuses_what_has_no_engine(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled("ort-int8:x86-avx2", capsys)
    assert "there is no engine to build" in failing("build", "out", capsys=capsys)
    (own_folder / "folder").mkdir()
    assert "is no bmopt artifact" in failing("build", "folder", capsys=capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--level", "9"), "builder level 9"),
        (("--compat", "all"), "unknown compat 'all'; valid are none, version, hardware"),
        (("--shapes", "image:1"), "input 'image' has 4 axes, 1 were given"),
        (("--shapes", "image:1x1x8x8"), "fixes an axis to 16, not 8"),
    ],
)
def test_build_refuses_options(
    flags: tuple[str, ...], message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    compiled("rtx-int8:sm89", capsys)
    assert message in failing("build", "out", *flags, capsys=capsys)
    assert not (own_folder / "out.built").exists()
