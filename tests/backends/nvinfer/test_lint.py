"""The linter on whole models, and what it says about single nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from bmopt.backends.nvinfer.imported_ops import imports_op
from bmopt.backends.nvinfer.lint import RULES, lint
from bmopt.core.finding import LEVELS, Finding
from bmopt.core.target import Target
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from tests.backends.nvinfer.rule_cases import CASES
from tests.backends.nvinfer.rule_texts import blocked, conv, int8, product, real
from tests.quantizing import CONV_NET
from tests.rewriting import parse
from tests.shared_data import needs_shared, shared_dir

TRT = Target("trt", "int8")
RTX = Target("rtx", "int8", "sm89")


def named(text: str) -> ir.Model:
    model = parse(text, opset=21)
    for node in model.graph.all_nodes():
        node.name = node.outputs[0].name
    return model


def findings(text: str, target: Target = TRT) -> tuple[Finding, ...]:
    return lint(named(text), target)


def ids(text: str, target: Target = TRT) -> list[str]:
    return [finding.rule.id for finding in findings(text, target)]


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        shape = (2, 8, 10, 10)
        self._left = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(3)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what ``quantize_static`` makes of a network by default."""
    folder = tmp_path_factory.mktemp("static")
    source, made = folder / "net.float", folder / "quantized.onnx"
    model = named(CONV_NET.replace("[N,", "[2,"))
    onnx.save(ir.to_proto(model), str(source), format="protobuf")
    quantize_static(str(source), str(made), _Samples())
    return made


def test_default_quantize_static_is_refused_by_the_real_parser(quantized: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    script = str(Path(__file__).with_name("rtx_verdicts.py"))
    command = [sys.executable, script, str(quantized.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout)["errors"]


def test_default_quantize_static_is_refused_with_the_reasons(quantized: Path) -> None:
    found = lint(load_model(quantized), TRT)
    errors = {finding.rule.name for finding in found if finding.rule.level == "error"}
    assert {"int32-bias", "non-zero-zero-point"} <= errors
    biases = [finding for finding in found if finding.rule.name == "int32-bias"]
    assert {text.message.split()[-1] for text in biases} == {"c1", "c2", "y"}
    assert all("QuantizeBias=False" in finding.fix for finding in biases)


def test_a_float_model_has_nothing_to_find() -> None:
    assert findings(CONV_NET) == ()
    assert findings(CONV_NET, RTX) == ()


def test_lint_leaves_the_model_as_it_is() -> None:
    model = CASES["int32-bias"].model()
    before = model_digest(model)
    lint(model, TRT)
    assert model_digest(model) == before


def test_finding_names_node_and_tensor() -> None:
    (finding,) = findings(CASES["float-weight"].text)
    assert finding.node == "y"
    assert finding.message == "runs in float: weight 'w' is not quantised"
    (finding,) = findings(CASES["relu"].text)
    assert finding.message.endswith("'m' is not quantised behind m (Relu)")
    (finding,) = findings(CASES["concat-of-other-scales"].text)
    assert "m (Concat) joins tensors without a common scale" in finding.message
    (finding,) = findings(CASES["matmul-sum-axis"].text)
    assert finding.fix == "quantise along axis 1, or with one scale"


def test_errors_come_first() -> None:
    text = product(
        weight=f"{int8('w', 32, 24)}, {real('ws', 32)}",
        weight_dq="wd = DequantizeLinear<axis=0>(w, ws)",
        rest="d = Det(xd)",
        y="float[4,24] y, float d",
    )
    levels = [finding.rule.level for finding in findings(text)]
    assert levels == sorted(levels, key=LEVELS.index)
    assert set(levels) == {"error", "warning"}


@pytest.mark.parametrize(
    ("precision", "fix"), [("int8", "--float fp16"), ("fp32", "rtx-fp16"), ("bf16", "rtx-fp16")]
)
def test_what_helps_a_turing_depends_on_the_target(precision: str, fix: str) -> None:
    text = "g (float[4,32] x, float[32,8] w) => (float[4,8] y) { y = MatMul(x, w) }"
    (finding,) = findings(text, Target("rtx", precision, "sm75"))
    assert finding.rule.id == "TRT027"
    assert fix in finding.fix


def test_rules_are_sorted_and_told_apart_by_id_and_name() -> None:
    assert [rule.id for rule in RULES] == sorted({rule.id for rule in RULES})
    assert len({rule.name for rule in RULES}) == len(RULES)
    hundreds = {"error": "0", "warning": "1", "note": "2"}
    assert all(rule.id.startswith(f"TRT{hundreds[rule.level]}") for rule in RULES)


def test_rules_about_rtx_kernels_leave_tensorrt_alone() -> None:
    deconvolution = CASES["deconvolution"].text
    assert ids(deconvolution) == []
    assert ids(deconvolution, RTX) == ["TRT110"]
    assert ids(CASES["nonzero"].text) == []
    assert ids(conv(), Target("rtx", "int8", "sm75+sm89")) == ["TRT111"]


def test_onnx_runtimes_tensorrt_provider_has_tensorrts_rules() -> None:
    target = Target("ort", "int8", "tensorrt")
    assert ids(CASES["int32-bias"].text, target) == ["TRT007"]
    assert ids(CASES["nonzero"].text, target) == []


def test_blocks_of_8_bits_are_for_no_product() -> None:
    pair = "xq = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(xq, xs, z)"
    assert ids(blocked(3, x="xd", pair=pair)) == ["TRT109"]
    assert ids(blocked(22, x="xd", pair=pair)) == []


def test_activations_in_4_bits_run_in_float() -> None:
    text = f"""g (float[4,32] x) => (float[4,32] y) <{real("w", 32, 32)}, float s = {{0.1}}> {{
      q = QuantizeLinear<output_dtype=22>(x, s)  d = DequantizeLinear(q, s)  y = MatMul(d, w) }}"""
    assert ids(text) == ["TRT112"]


def test_dynamic_axes_do_not_count_as_misfits() -> None:
    assert ids(conv(x="float[N,16,H,W] x", y="float[N,16,H,W] y")) == []
    rows = product(
        x="float[N,32] x",
        y="float[N,24] y",
        scale=real("xs", 4),
        pair="xq = QuantizeLinear<axis=0, output_dtype=3>(x, xs)  "
        "xd = DequantizeLinear<axis=0>(xq, xs)",
    )
    assert ids(rows) == ["TRT204"]


def test_many_concats_in_a_row_take_no_time() -> None:
    chain = " ".join(f"m{i + 1} = Concat<axis=0>(m{i}, m{i})" for i in range(40))
    text = f"""g (float[N,32] x) => (float[M,24] y) <float xs = {{0.02}}, int8 z = {{0}},
      {int8("w", 32, 24)}, {real("ws", 24)}> {{ xq = QuantizeLinear(x, xs, z)
      m0 = DequantizeLinear(xq, xs, z)  {chain}  wd = DequantizeLinear<axis=1>(w, ws)
      y = MatMul(m40, wd) }}"""
    assert ids(text) == []
    assert ids(text.replace("m0 = DequantizeLinear(xq, xs, z)", "m0 = Relu(x)")) == ["TRT102"]


def test_default_of_an_input_counts_as_a_constant() -> None:
    assert ids(product(x="float[4,32] x, float xs")) == []


@needs_shared
@pytest.mark.zoo
def test_pretrained_float_models_are_clean() -> None:
    folder = shared_dir()
    assert folder is not None
    for path in sorted((folder / "models").glob("**/*.onnx")):
        assert lint(load_model(path), RTX) == (), path


def test_installed_parser_imports_the_ops_of_the_table() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    parser = trt.OnnxParser(trt.Builder(logger).create_network(0), logger)
    schemas = onnx.defs.get_all_schemas()
    standard = {schema.name for schema in schemas if schema.domain in ("", "ai.onnx")}
    theirs = {name for name in standard if parser.supports_operator(name)}
    ours = {name for name in standard if imports_op("rtx", name)}
    # Their importers exist, and need plugins that only TensorRT brings.
    assert theirs - ours == {"NonMaxSuppression", "NonZero", "RoiAlign"}
    assert ours <= theirs
