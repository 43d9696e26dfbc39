"""Reduction with real commands: small scripts that fail when a model has, or does, something."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.core.isolate import Ending
from bmopt.errors import DataError, IsolatedToolError, ModelError, OutputError, UsageError
from bmopt.graph.concrete_values import KnownValue
from bmopt.graph.model_io import load_model
from bmopt.workflow import recorder
from bmopt.workflow.check_command import CheckCommand
from bmopt.workflow.progress import Quiet
from bmopt.workflow.reducing import Reduced, reduce_model
from tests.graph.model_files import proto_of, put_outside, write
from tests.workflow.demo_runs import DEMO, write_text_model
from tests.workflow.in_process_recording import record_in_process

CHAIN = """
g (float[2] x) => (float[2] y) {
  a = Relu(x)  b = Neg(a)  c = Exp(b)  d = Abs(c)  e = Sqrt(d)  f = Sin(e)  y = Cos(f)
}
"""
TWO_ENDS = """
g (float[2] x) => (float[2] y, float[2] z) {
  a = Relu(x)  b = Exp(a)  c = Neg(a)  d = Abs(b)  e = Sqrt(c)  y = Add(d, e)  z = Sin(e)
}
"""
CONTROL = """
g (float[2] x, bool c) => (float[2] y) {
  a = Relu(x)
  b = If(c) <
    then_branch = t () => (float[2] p) { p = Exp(a) },
    else_branch = e () => (float[2] q) { q = Neg(a) }
  >
  y = Abs(b)
}
"""
HAS = """
import sys
data = open(sys.argv[1], "rb").read()
found = [op for op in sys.argv[2:] if op.encode() in data]
print("has", *found)
sys.exit(7 if len(found) == len(sys.argv) - 2 else 0)
"""
NAN = """
import sys, numpy as np, onnxruntime as ort
feeds = dict(np.load(sys.argv[2]))
out = ort.InferenceSession(sys.argv[1]).run(None, feeds)
bad = any(np.isnan(o).any() for o in out)
sys.exit("NaN" if bad else 0)
"""


def script(text: str, *arguments: str, **options: object) -> CheckCommand:
    argv = (sys.executable, "-I", "-c", text, *arguments)
    return CheckCommand(argv, **{"timeout_s": 60.0, **options})  # type: ignore[arg-type]


def reduced(tmp_path: Path, body: str, check: CheckCommand, **options: object) -> Reduced:
    path = write_text_model(tmp_path / "model.onnx", body)
    return reduce_model(path, check, tmp_path / "out.onnx", **options)  # type: ignore[arg-type]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    record_in_process(monkeypatch)


def ops(path: Path) -> list[str]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return [node.op_type for node in model.graph.node]


def test_a_chain_is_cut_on_both_sides(tmp_path: Path) -> None:
    found = reduced(tmp_path, CHAIN, script(HAS, "{}", "Sqrt"))
    assert ops(found.out) == ["Sqrt"]
    assert (found.nodes_before, found.nodes_after, found.ops) == (7, 1, ("Sqrt",))
    assert (found.inputs, found.outputs) == (("d",), ("e",))
    assert (found.failure, found.last_line) == ("ends with 7", "has Sqrt")
    assert not found.interrupted
    assert found.checks < 10


@pytest.mark.usefixtures("in_process")
def test_nodes_between_two_that_matter_are_left_out(tmp_path: Path) -> None:
    found = reduced(tmp_path, CHAIN, script(HAS, "{}", "Relu", "Sin"))
    assert ops(found.out) == ["Relu", "Sin"]
    assert (found.inputs, found.outputs) == (("x", "e"), ("a", "f"))


@pytest.mark.usefixtures("in_process")
def test_branches_and_outputs_that_do_not_matter_go(tmp_path: Path) -> None:
    found = reduced(tmp_path, TWO_ENDS, script(HAS, "{}", "Exp", "Sin"))
    assert ops(found.out) == ["Exp", "Sin"]
    assert found.outputs == ("z", "b")


@pytest.mark.usefixtures("in_process")
def test_outputs_that_are_no_longer_needed_are_not_shown(tmp_path: Path) -> None:
    body = "g (float[4] x) => (float[2] y, float[2] z) { y, z = Split(x) }"
    found = reduced(tmp_path, body, script(HAS, "{}", "Split"))
    assert found.outputs == ("z",)


@pytest.mark.usefixtures("in_process")
def test_kept_outputs_are_cut_at_inputs_only(tmp_path: Path) -> None:
    found = reduced(tmp_path, TWO_ENDS, script(HAS, "{}", "Exp"), keep_outputs=True)
    assert ops(found.out) == ["Exp", "Abs", "Add", "Sin"]
    assert (found.inputs, found.outputs) == (("a", "e"), ("y", "z"))


@pytest.mark.usefixtures("in_process")
def test_a_node_with_bodies_is_one_node(tmp_path: Path) -> None:
    found = reduced(tmp_path, CONTROL, script(HAS, "{}", "Exp"))
    assert ops(found.out) == ["If"]
    assert (found.nodes_before, found.inputs, found.outputs) == (3, ("c", "a"), ("b",))


@pytest.mark.usefixtures("in_process")
def test_the_same_twice_gives_the_same_file(tmp_path: Path) -> None:
    check = script(HAS, "{}", "Exp", "Sin")
    first = reduced(tmp_path, TWO_ENDS, check)
    before = first.out.read_bytes()
    second = reduced(tmp_path, TWO_ENDS, check)
    assert (second, second.out.read_bytes()) == (first, before)


def test_the_node_that_makes_nan_is_found_with_the_values_it_sees(tmp_path: Path) -> None:
    """The logarithm of what is never negative, but for the bias: only real values tell."""
    body = """
    g (float[2] x) => (float[2] y) <float[2] w = {0, -1}, int64[2] s = {2, 1}> {
      a = Exp(x)  b = Add(a, w)  r = Reshape(b, s)  c = Log(r)  k = Shape(b)
      d = Reshape(c, k)  y = Abs(d)
    }
    """
    (tmp_path / "feed.py").write_text(
        "import numpy as np\ndef feeds():\n    yield {'x': np.array([0.5, -3.0], np.float32)}\n"
    )
    check = script(NAN, "{}", "{inputs}")
    path = write_text_model(tmp_path / "model.onnx", body)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        found = reduce_model(path, check, tmp_path / "out.onnx", data="feed:feeds")
    assert found.ops == ("Log",)
    assert found.last_line == "NaN"
    assert found.inputs_file is not None
    with np.load(found.inputs_file) as values:
        assert values["r"].shape == (2, 1)
        assert values["r"][1] < 0


@pytest.mark.usefixtures("in_process")
def test_a_failure_of_another_kind_does_not_count(tmp_path: Path) -> None:
    """Without Exp the script ends with another code, which must not lead the search astray."""
    text = HAS.replace("else 0", "else 3")
    found = reduced(tmp_path, CHAIN, script(text, "{}", "Exp"))
    assert ops(found.out) == ["Exp"]
    with pytest.raises(UsageError, match=r"ends with 3 on the whole model, .*: has$"):
        reduced(tmp_path, CHAIN, script(text, "{}", "Tanh", code=7))


@pytest.mark.usefixtures("in_process")
def test_what_is_printed_tells_failures_of_the_same_code_apart(tmp_path: Path) -> None:
    text = HAS.replace("else 0", "else 7")
    found = reduced(tmp_path, CHAIN, script(text, "{}", "Exp", match="has E.p"))
    assert ops(found.out) == ["Exp"]


@pytest.mark.usefixtures("in_process")
def test_running_out_of_time_is_a_failure_of_its_own(tmp_path: Path) -> None:
    text = HAS.replace("sys.exit(7 if", "import time; time.sleep(60 if")
    body = "g (float[2] x) => (float[2] y) { a = Relu(x)  y = Exp(a) }"
    found = reduced(tmp_path, body, script(text, "{}", "Exp", timeout_s=1.5))
    assert found.failure == "runs out of time"
    assert ops(found.out) == ["Exp"]


@pytest.mark.usefixtures("in_process")
def test_a_crash_is_a_failure(tmp_path: Path) -> None:
    text = HAS.replace("sys.exit(7", "import os; sys.exit(os.kill(os.getpid(), 11)")
    found = reduced(tmp_path, CHAIN, script(text, "{}", "Exp", code=-11))
    assert (found.failure, found.ops) == ("ends with -11", ("Exp",))


@pytest.mark.usefixtures("in_process")
def test_the_path_is_appended_where_the_command_has_no_place_for_it(tmp_path: Path) -> None:
    text = "import sys; sys.exit(b'Exp' in open(sys.argv[1], 'rb').read())"
    assert ops(reduced(tmp_path, CHAIN, script(text)).out) == ["Exp"]


@pytest.mark.usefixtures("in_process")
def test_a_model_that_does_not_run_is_cut_with_inferred_shapes(tmp_path: Path) -> None:
    text = """
    g (float[2, 3] x) => (float[3, 2] y, float d) {
      a = Relu(x)  d = Det(x)  c = Transpose(a)  y = Exp(c)
    }
    """
    told = Quiet()
    path = write(tmp_path / "model.onnx", proto_of(text))
    found = reduce_model(
        path, script(HAS, "{}", "Transpose"), tmp_path / "out.onnx", progress=told
    )
    assert "shapes at the cuts are inferred" in told.warnings[0]
    assert ops(found.out) == ["Transpose"]
    (value,) = onnx.load(found.out).graph.input
    assert [axis.dim_value for axis in value.type.tensor_type.shape.dim] == [2, 3]


@pytest.mark.usefixtures("in_process")
def test_external_weights_come_along(tmp_path: Path) -> None:
    text = "g (float[64] x) => (float[64] y) { a = Add(x, w)  y = Exp(a) }"
    weights = {"w": np.arange(64, dtype=np.float32)}
    proto = proto_of(text, weights)
    put_outside(proto, tmp_path)
    path = write(tmp_path / "model.onnx", proto)
    found = reduce_model(path, script(HAS, "{}", "Add"), tmp_path / "sub" / "out.onnx")
    stored = onnx.load(found.out).graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored), weights["w"])
    assert ops(found.out) == ["Add"]


@pytest.mark.usefixtures("in_process")
def test_an_interrupted_search_keeps_the_best_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def run(check: CheckCommand, model: Path, inputs: Path) -> Ending:
        calls.append(model)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return check_run(check, model, inputs)

    check_run = CheckCommand.run
    monkeypatch.setattr(CheckCommand, "run", run)
    found = reduced(tmp_path, CHAIN, script(HAS, "{}", "Neg"))
    assert found.interrupted
    assert 1 < found.nodes_after < found.nodes_before
    assert ops(found.out) == list(found.ops)


def test_a_model_that_hangs_the_engine_is_not_waited_for(tmp_path: Path) -> None:
    path = write_text_model(tmp_path / "model.onnx", CHAIN)
    recording = recorder.record_apart(
        path, load_model(path), "", tmp_path, keep_values=True, timeout_s=0.01
    )
    assert recording.problem == "running the model took longer than 0.01 s"
    assert recording.known["d"] == KnownValue(ir.DataType.FLOAT, (2,))
    assert recording.values(["d"]) == {}


@pytest.mark.usefixtures("in_process")
def test_inputs_are_asked_of_a_model_that_does_not_run(tmp_path: Path) -> None:
    body = "g (float[2, 3] x) => (float d) { d = Det(x) }"
    with pytest.raises(UsageError, match=r"there are no values for \{inputs\}"):
        reduced(tmp_path, body, script(HAS, "{}", "{inputs}"))


@pytest.mark.usefixtures("in_process")
def test_dynamic_axes_and_weights_of_a_real_model(tmp_path: Path) -> None:
    found = reduce_model(DEMO.model, script(HAS, "{}", "Gemm"), tmp_path / "out.onnx")
    assert found.nodes_before > 5
    assert ops(found.out) == ["Gemm"]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (script("pass", "{}"), UsageError, r"the command ends with 0 on the whole model"),
        (CheckCommand(("/no/such/program",)), IsolatedToolError, "cannot be started"),
    ],
)
def test_bad_commands_leave_nothing(
    tmp_path: Path, check: CheckCommand, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        reduced(tmp_path, CHAIN, check)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_bad_options_are_refused() -> None:
    for options in ({"timeout_s": 0.0}, {"code": 0}, {"match": "("}):
        with pytest.raises(UsageError):
            script("pass", **options)
    with pytest.raises(UsageError, match="behind --"):
        CheckCommand(())


@pytest.mark.usefixtures("in_process")
def test_bad_files_and_samples_are_refused(tmp_path: Path) -> None:
    path = write_text_model(tmp_path / "model.onnx", CHAIN)
    check = script(HAS, "{}", "Exp")
    with pytest.raises(UsageError, match="is the input"):
        reduce_model(path, check, path)
    with pytest.raises(ModelError, match="no such file"):
        reduce_model(tmp_path / "none.onnx", check, tmp_path / "out.onnx")
    with pytest.raises(DataError, match="no such file"):
        reduce_model(path, check, tmp_path / "out.onnx", data="none.npz")
    with pytest.raises(OutputError):
        reduce_model(path, check, path / "out.onnx")
