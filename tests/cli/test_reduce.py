"""``bmopt reduce`` with real commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from bmopt.cli.main import main
from tests.cli.process import process_environment
from tests.workflow.demo_runs import write_text_model
from tests.workflow.in_process_recording import record_in_process

CHAIN = """
g (float[2] x) => (float[2] y) {
  a = Relu(x)  b = Neg(a)  c = Exp(b)  d = Abs(c)  e = Sqrt(d)  f = Sin(e)  y = Cos(f)
}
"""
HAS_SQRT = "import sys; bad = b'Sqrt' in open(sys.argv[1], 'rb').read(); print('bad?', bad); "
ENDS = HAS_SQRT + "sys.exit(5 if bad else 0)"
MAIN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from bmopt.cli.main import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.fixture(autouse=True)
def model(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    record_in_process(monkeypatch)
    return write_text_model(own_folder / "m.onnx", CHAIN)


def command(text: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-c", text)


def ops(path: str) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_result_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("reduce", "m.onnx", "-o", "out.onnx", "--", *command(ENDS), "{}")) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "out.onnx: 1 of 7 nodes (Sqrt)"
    assert lines[1] == "inputs d; outputs e"
    assert lines[2].endswith("checks; the command still ends with 5: bad? True")
    assert shown.err == ""
    assert ops("out.onnx") == ["Sqrt"]


def test_json_and_options_in_front_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--json", "--timeout", "60", "--code", "5", "--match", "True", "-o", "out.onnx")
    assert main(("reduce", *flags, "m.onnx", "--", *command(ENDS))) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["nodes_before"], document["nodes_after"]) == (7, 1)
    assert document["ops"] == ["Sqrt"]


def test_a_command_may_have_dashes_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = "import sys; sys.exit(sys.argv[1:3] != ['--', '--keep-outputs'] or 5)"
    check = (*command(text), "--", "--keep-outputs", "{}")
    assert main(("reduce", "m.onnx", "-o", "out.onnx", "--", *check)) == 0
    assert "still ends with 5" in capsys.readouterr().out


def test_values_for_the_inputs_lie_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    text = ENDS.replace("sys.exit(", "import os; sys.exit(not os.path.getsize(sys.argv[2]) or ")
    check = (*command(text), "{}", "{inputs}")
    assert main(("reduce", "m.onnx", "-o", "out.onnx", "--", *check)) == 0
    assert "\nout.onnx.inputs.npz: values for its inputs\n" in capsys.readouterr().out
    assert Path("out.onnx.inputs.npz").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.onnx", "-o", "o.onnx", "--", "true"), "the command ends with 0 on the whole model"),
        (("m.onnx", "-o", "o.onnx", "--", "/no/such"), "/no/such cannot be started"),
        (("m.onnx", "-o", "m.onnx", "--", "false"), "is the input, which is never written to"),
        (("none.onnx", "-o", "o.onnx", "--", "false"), "none.onnx: no such file"),
        (("m.onnx", "-o", "o.onnx", "--code", "0", "--", "false"), "has not failed"),
        (("m.onnx", "-o", "o.onnx", "--match", "[", "--", "false"), "no regular expression"),
        (("m.onnx", "-o", "o.onnx", "--timeout", "0", "--", "false"), "above 0"),
        (
            ("m.onnx", "-o", "o.onnx", "--data", "none.npz", "--", "false"),
            "none.npz: no such file",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("reduce", *arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert [path.name for path in Path().iterdir() if path.name != "m.onnx"] == []


def test_without_a_command_there_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(("reduce", "m.onnx", "-o", "out.onnx"))
    assert end.value.code == 2
    assert "the following arguments are required: CHECK" in capsys.readouterr().err


def test_ctrl_c_keeps_the_best_so_far() -> None:
    """The first two checks are quick; the others would take minutes."""
    text = (
        "import os, sys, time; count = len(os.listdir('seen')); open(f'seen/{count}', 'w'); "
        "time.sleep(120 if count >= 2 else 0); sys.exit(3)"
    )
    Path("seen").mkdir()
    argv = ("reduce", "m.onnx", "-o", "out.onnx", "--", *command(text))
    with subprocess.Popen(
        (sys.executable, "-c", MAIN, *argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process_environment(),
    ) as child:
        deadline = time.monotonic() + 60
        while len(list(Path("seen").iterdir())) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 130
    assert err.endswith("bmopt: interrupted; out.onnx has the best so far\n")
    assert "3 of 7 nodes (Relu, Neg, Exp)" in out
    assert ops("out.onnx") == ["Relu", "Neg", "Exp"]
