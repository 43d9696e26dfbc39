from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model, save_model
from bmopt.graph.origin import origin_of
from bmopt.optimizer import onnxsim_child
from bmopt.optimizer.onnxsim_child import OnnxsimRun, start_onnxsim
from bmopt.optimizer.passes.onnxsim import Onnxsim, SourceRun
from tests.rewriting import assert_keeps, check_pass, parse
from tests.shared_data import needs_shared, shared_dir

_CONV_BN = """g (float[N,2,4,4] x) => (float[N,2,4,4] y)
    <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}, float[2] s = {1.0, 2.0}, float[2] z = {0.0, 0.0},
     float[2] v = {1.0, 1.0}> {
    a = Identity(x)
    c = Conv(a, w)
    y = BatchNormalization(c, s, z, z, v)
}"""


def _origins(model: ir.Model) -> dict[str, tuple[str, ...]]:
    return {node.op_type: origin_of(node) for node in model.graph.all_nodes()}


def test_fuses_and_removes() -> None:
    model = parse(_CONV_BN)
    outcome = check_pass(Onnxsim(), model)
    assert outcome.modified
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_finds_the_origins_again() -> None:
    model = parse(_CONV_BN)
    names = {node.op_type: str(node.name) for node in model.graph}
    Onnxsim()(model)
    assert set(_origins(model)["Conv"]) == set(names.values())


def test_makes_no_operators_of_one_engine() -> None:
    heads = "".join(
        f"""{one}m = MatMul(x, {one}w)  {one}a = Add({one}b, {one}m)  {one}s = Reshape({one}a, t)
            {one} = Transpose<perm = [{perm}]>({one}s)  """
        for one, perm in (("q", "0, 2, 1, 3"), ("k", "0, 2, 3, 1"), ("v", "0, 2, 1, 3"))
    )
    weights = ",".join(
        f"float[4,4] {one}w = {{{','.join(f'{i + j}.0' for j in range(16))}}},"
        f"float[4] {one}b = {{{i}.0, 1.0, 2.0, 3.0}}"
        for i, one in enumerate("qkv")
    )
    model = parse(f"""g (float[N,3,4] x) => (float[N,3,4] y)
        <{weights}, int64[4] t = {{0, 3, 2, 2}}, int64[3] u = {{0, 3, 4}}, float two = {{2.0}}> {{
        {heads} s = MatMul(q, k)  d = Div(s, two)  w = Softmax<axis = -1>(d)  c = MatMul(w, v)
        o = Transpose<perm = [0, 2, 1, 3]>(c)  y = Reshape(o, u) }}""")
    Onnxsim()(model)
    assert {node.domain for node in model.graph} == {""}


def test_folds_constants() -> None:
    model = parse("""g (float[2] x) => (float[2] y) {
        k = Constant<value = float[2] {1.0, 2.0}>()
        n = Exp(k)
        y = Add(x, n)
    }""")
    assert check_pass(Onnxsim(), model).modified
    assert "Exp" not in _origins(model)


def test_folds_no_big_constants() -> None:
    text = """g (float[64,64] x) => (float[64,64] y) <int64[2] s = {64, 64}> {
        k = ConstantOfShape<value = float[1] {2.0}>(s)
        y = Add(x, k)
    }"""
    model = parse(text)
    assert not Onnxsim(max_folded_bytes=1024)(model).modified
    assert Onnxsim(max_folded_bytes=1 << 20)(model).modified


def test_keeps_dynamic_axes_and_declared_shapes() -> None:
    model = parse("g (float[N,2,H] x) => (float[N,M] y) { a = Identity(x) y = Flatten(a) }")
    assert Onnxsim()(model).modified
    assert model.graph.inputs[0].shape == ir.Shape(["N", 2, "H"])
    assert model.graph.outputs[0].shape == ir.Shape(["N", "M"])


def test_what_can_be_overridden_is_not_folded() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2] x, float[2] w = {1.0, 2.0}) => (float[2] y) {
        a = Identity(x)
        n = Neg(w)
        y = Add(a, n)
    }"""
    model = parse(text)
    assert check_pass(Onnxsim(), model).modified
    assert [value.name for value in model.graph.inputs] == ["x", "w"]
    assert model.graph.inputs[1].is_initializer()
    assert [node.op_type for node in model.graph] == ["Neg", "Add"]


def test_keeps_what_it_cannot_improve() -> None:
    outcome = assert_keeps(Onnxsim(), "g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    assert outcome.refusals == ()


def test_keeps_branches() -> None:
    model = parse("""g (bool c, float[2] x) => (float[2] y) {
        a = Identity(x)
        y = If(c) <then_branch = t () => (float[2] p) { p = Relu(a) },
                   else_branch = e () => (float[2] q) { q = Neg(a) }>
    }""")
    check_pass(Onnxsim(), model)
    assert {"If", "Relu", "Neg"} <= set(_origins(model))


_DEATHS = {
    "import os; os.kill(os.getpid(), 11)": "onnxsim was killed by SIGSEGV",
    "exit('no way')": "onnxsim failed with exit code 1: no way",
    "import time; time.sleep(60)": "onnxsim took longer than 1 s",
    "pass": "onnxsim wrote no result",
    "open(sys.argv[2], 'wb').write(b'junk')": "is not an ONNX model",
    "save('g (float[2] z) => (float[2] y) { y = Relu(z) }')": "changed the names or types",
    "save('g (float[2] x) => (int64[2] y) { y = Cast<to = 7>(x) }')": "changed the names or types",
    "save('g (float[2] x) => (float[2] y) { y = Relu(x) }', 18)": "changed the opset",
    (
        "save('g (float[2] x) => (float[2] y) <int64[1] s = {99999}> "
        "{ a = Neg(x) y = Relu(a) }', 17, 99999)"
    ): "bytes of weights",
}


@pytest.mark.parametrize("death", _DEATHS)
def test_leaves_the_model_when_onnxsim_fails(
    death: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys\n"
        "def save(text, opset=17, weights=0):\n"
        "    import onnx\n"
        "    head = '<ir_version: 8, opset_import: [\"\" : %d]>' % opset\n"
        "    model = onnx.parser.parse_model(head + text)\n"
        "    if weights:\n"
        "        model.graph.initializer.add(\n"
        "            name='big', dims=[weights], data_type=1, raw_data=bytes(4 * weights))\n"
        "    onnx.save(model, sys.argv[2])\n"
        f"{death}\n"
    )
    monkeypatch.setattr(onnxsim_child, "_WORKER", worker)
    text = "g (float[2] x) => (float[2] y) { a = Identity(x) y = Relu(a) }"
    model = parse(text)
    digest = model_digest(model)
    outcome = Onnxsim(timeout_s=1.0 if "sleep" in death else 60.0).call(model)
    assert not outcome.modified
    assert model_digest(model) == digest
    (refusal,) = outcome.refusals
    assert _DEATHS[death] in refusal.reason
    assert "\n" not in refusal.reason


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.onnx"
    save_model(parse(_CONV_BN), path)
    return path


@pytest.fixture
def run(source: Path) -> Iterator[OnnxsimRun]:
    with start_onnxsim(source) as started:
        yield started


def test_takes_the_result_of_a_run_on_the_models_file(
    source: Path, run: OnnxsimRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(source)
    started = SourceRun(run, model_digest(model))
    monkeypatch.setattr(onnxsim_child, "_WORKER", Path("no such worker"))
    for _ in range(2):
        copy = model.clone()
        assert Onnxsim(started=started)(copy).modified
        assert [node.op_type for node in copy.graph] == ["Conv"]
        assert len(origin_of(copy.graph[0])) == 3


def test_does_not_take_it_for_another_model(source: Path, run: OnnxsimRun) -> None:
    model = load_model(source)
    started = SourceRun(run, model_digest(model))
    weight = ir.tensor(np.zeros((2, 2, 1, 1), np.float32))
    model.graph.initializers["w"].const_value = weight
    assert Onnxsim(started=started)(model).modified
    conv_weight = model.graph[0].inputs[1]
    assert conv_weight is not None
    assert conv_weight.const_value is not None
    assert not conv_weight.const_value.numpy().any()


def test_tries_again_where_the_file_itself_is_too_odd(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> '
        "g (float[2] x) => (float[2] y) { a = Identity(x) b = Neg(a) y = Relu(b) }"
    )
    nodes = list(reversed(proto.graph.node))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    path = tmp_path / "unsorted.onnx"
    path.write_bytes(proto.SerializeToString())
    with start_onnxsim(path) as run:
        model = load_model(path)
        outcome = Onnxsim(started=SourceRun(run, model_digest(model))).call(model)
    assert [node.op_type for node in model.graph] == ["Neg", "Relu"]
    assert outcome.refusals == ()


def test_closing_removes_the_files_and_ends_the_child(source: Path) -> None:
    run = start_onnxsim(source)
    result = run.result()
    assert result.is_file()
    run.close()
    assert not result.parent.exists()
    run.close()


def test_starting_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, bmopt.optimizer.onnxsim_child; "
        "print([m for m in ('numpy', 'onnx', 'onnx_ir', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _files() -> list[Path]:
    root = shared_dir()
    if root is None:
        return []
    return sorted([*root.glob("models/*.onnx"), *root.glob("zoo/models/resnet*.onnx")])


@pytest.mark.zoo
@needs_shared
@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
def test_zoo(path: Path) -> None:
    model = load_model(path)
    count = sum(1 for _ in model.graph.all_nodes())
    outcome = Onnxsim().call(model)
    assert outcome.refusals == ()
    assert all(origin_of(node) for node in model.graph.all_nodes())
    after = sum(1 for _ in model.graph.all_nodes())
    assert after < count if outcome.modified else after == count
    assert not Onnxsim()(model).modified
