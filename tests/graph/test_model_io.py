from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.errors import ModelError, OutputError, UsageError
from bmopt.graph.defaults import freeze_defaults
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import input_specs, load_model, require_not_source, save_model
from bmopt.graph.origin import KEY, origin_of
from bmopt.graph.quantized import is_quantized
from tests.graph.model_files import proto_of, put_outside, write
from tests.rewriting import run_plain

_ADD = "g (float[N,2] x) => (float[N,2] y) { y = Add(x, w) }"
_W = {"w": np.array([1, 2], np.float32)}


def _load(tmp_path: Path, proto: onnx.ModelProto) -> ir.Model:
    return load_model(write(tmp_path / "m.onnx", proto))


def _refusal(tmp_path: Path, proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        _load(tmp_path, proto)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 'm.onnx'}: ")
    return message


def test_nodes_get_unique_names_and_origins(tmp_path: Path) -> None:
    model = _load(tmp_path, proto_of("g (float[2] x) => (float[2] y) { a = Relu(x) y = Relu(a) }"))
    names = [node.name for node in model.graph]
    assert len(set(names)) == 2
    assert all(names)
    assert [origin_of(node) for node in model.graph] == [(name,) for name in names]


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")
    nodes = list(reversed(proto.graph.node))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    assert [node.op_type for node in _load(tmp_path, proto).graph] == ["Relu", "Neg"]


def test_unreadable_origins_of_a_file_are_replaced(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.node[0].metadata_props.add(key=KEY, value='{"no": "list"}')
    (node,) = _load(tmp_path, proto).graph
    assert origin_of(node) == (node.name,)


def test_origins_of_an_earlier_run_are_kept(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.node[0].metadata_props.add(key=KEY, value='["conv1", "bn1"]')
    (node,) = _load(tmp_path, proto).graph
    assert origin_of(node) == ("conv1", "bn1")


def test_repeated_names_in_branches_become_unique(tmp_path: Path) -> None:
    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] r) { r = Relu(x) },
                   else_branch = e () => (float[2] r) { r = Neg(x) }> }"""
    model = _load(tmp_path, proto_of(text))
    outputs = [out.name for node in model.graph.all_nodes() for out in node.outputs]
    assert len(set(outputs)) == len(outputs) == 3


def test_omitted_optional_outputs_stay_omitted(tmp_path: Path) -> None:
    text = "g (float[4,1,2] x) => (float[1,1,3] h) { , h = LSTM<hidden_size=3>(x, w, r) }"
    weights = {"w": np.ones((1, 12, 2), np.float32), "r": np.ones((1, 12, 3), np.float32)}
    (node,) = _load(tmp_path, proto_of(text, weights)).graph
    assert [out.name for out in node.outputs] == ["", "h"]


def test_weights_that_ir3_lists_as_inputs_are_constants(tmp_path: Path) -> None:
    text = "g (float[N,2] x, float[2] w) => (float[N,2] y) { y = Add(x, w) }"
    model = _load(tmp_path, proto_of(text, _W, opset=7, ir=3))
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.ir_version >= 4


def test_a_default_of_a_newer_file_stays_an_input_until_frozen(tmp_path: Path) -> None:
    text = "g (float[N,2] x, float[2] w) => (float[N,2] y) { y = Add(x, w) }"
    model = _load(tmp_path, proto_of(text, _W))
    assert [value.name for value in model.graph.inputs] == ["x", "w"]
    assert [spec.name for spec in input_specs(model)] == ["x"]
    assert freeze_defaults(model) == ("w",)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert freeze_defaults(model) == ()


def test_sparse_weights_become_dense(tmp_path: Path) -> None:
    proto = proto_of(_ADD)
    values = onnx.numpy_helper.from_array(np.array([5], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([1], np.int64))
    proto.graph.sparse_initializer.add(values=values, indices=indices, dims=[2])
    model = _load(tmp_path, proto)
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    assert weight.numpy().tolist() == [0.0, 5.0]


def test_sizes_below_zero_are_unknown(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert input_specs(_load(tmp_path, proto)) == (InputSpec("x", "float32", (None,)),)


def test_what_only_the_checker_minds_is_taken(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.ClearField("name")
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert len(_load(tmp_path, proto).graph) == 1


def test_an_op_of_onnx_runtime_in_the_standard_domain_is_taken(tmp_path: Path) -> None:
    # Exporters wrote LayerNormalization before opset 17 had it; ONNX Runtime runs it.
    text = "g (float[1,2] x) => (float[1,2] y) { y = LayerNormalization(x, w) }"
    assert len(_load(tmp_path, proto_of(text, _W, opset=13)).graph) == 1


def test_inputs_as_they_are_fed(tmp_path: Path) -> None:
    text = "g (float[N,2,3] x, int64 n, uint8[] b) => (float[N,2,3] y) { y = Relu(x) }"
    assert input_specs(_load(tmp_path, proto_of(text))) == (
        InputSpec("x", "float32", ("N", 2, 3)),
        InputSpec("n", "int64", ()),
        InputSpec("b", "uint8", None),
    )


def test_an_input_that_is_no_tensor_has_no_spec(tmp_path: Path) -> None:
    text = "g (seq(float[2]) x) => (float[M] y) { y = ConcatFromSequence<axis=0>(x) }"
    with pytest.raises(ModelError, match="input 'x' is no tensor"):
        input_specs(_load(tmp_path, proto_of(text)))


def test_an_input_without_a_type_has_no_spec(tmp_path: Path) -> None:
    model = _load(tmp_path, proto_of(_ADD, _W))
    model.graph.inputs[0].type = ir.TensorType(ir.DataType.UNDEFINED)
    with pytest.raises(ModelError, match="input 'x' has no element type"):
        input_specs(model)


def test_external_weights_are_mapped_not_read(tmp_path: Path) -> None:
    proto = proto_of(_ADD, _W)
    put_outside(proto, tmp_path)
    model = _load(tmp_path, proto)
    weight = model.graph.initializers["w"].const_value
    assert weight is not None
    assert weight.numpy().tolist() == [1.0, 2.0]
    owner: object = weight.numpy()
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)


def test_thousands_of_external_weights_take_one_descriptor(tmp_path: Path) -> None:
    names = [f"w{i}" for i in range(1500)]
    proto = proto_of("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    for name in names:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), name))
    put_outside(proto, tmp_path)
    before = _open_descriptors()
    model = _load(tmp_path, proto)
    assert len(model.graph.initializers) == 1500
    assert _open_descriptors() <= before + 2


def _open_descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hosts", ""])
def test_external_weights_outside_the_folder(tmp_path: Path, location: str) -> None:
    proto = proto_of(_ADD, _W)
    put_outside(proto, tmp_path)
    proto.graph.initializer[0].external_data[0].value = location
    _refusal(tmp_path, proto)


def test_external_weights_that_are_missing(tmp_path: Path) -> None:
    proto = proto_of(_ADD, _W)
    put_outside(proto, tmp_path)
    (tmp_path / "w.bin").unlink()
    assert "'w' lie in 'w.bin', which is missing" in _refusal(tmp_path, proto)


@pytest.mark.parametrize("size", [0, 7])
def test_external_weights_that_are_truncated(tmp_path: Path, size: int) -> None:
    proto = proto_of(_ADD, _W)
    put_outside(proto, tmp_path)
    (tmp_path / "w.bin").write_bytes(bytes(size))
    assert "truncated" in _refusal(tmp_path, proto)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        load_model(tmp_path / "none.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello world", bytes(range(256)) * 8])
def test_files_that_are_no_models(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"m\.onnx: (is not an ONNX model|holds no graph)"):
        load_model(path)


def test_an_old_opset(tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    assert "opset 6 is too old" in _refusal(tmp_path, proto_of(text, opset=6))


def test_no_opset(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    del proto.opset_import[:]
    assert "no opset_import" in _refusal(tmp_path, proto)


def test_unknown_ops(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "my.ops" : 1]>
        g (float[2] x) => (float[2] y) { a = Frobnicate(x) y = my.ops.Twist(a) }"""
    assert "unknown op Frobnicate, my.ops.Twist" in _refusal(tmp_path, proto_of(text))


def test_a_name_with_line_breaks_keeps_the_message_in_one_line(tmp_path: Path) -> None:
    proto = proto_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    proto.graph.node[0].op_type = "two\nlines"
    assert "unknown op two lines" in _refusal(tmp_path, proto)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Add(x, nobody)", "reads 'nobody', which nothing defines"),
        ("a = Add(x, y) y = Relu(a)", "cycle"),
        ("z = Relu(x)", "output 'y' is not computed"),
        ("y = Relu(x) y = Neg(x)", "'y' is defined twice"),
        ("x = Neg(x) y = Relu(x)", "'x' is defined twice"),
        ("y = Relu(x, x)", "Relu"),
        ('y = Softmax<axis="no">(x)', "axis"),
        ("y = Relu<no_such_attribute=1>(x)", "no_such_attribute"),
    ],
)
def test_graphs_that_no_runtime_runs(tmp_path: Path, body: str, reason: str) -> None:
    text = f"g (float[2] x) => (float[2] y) {{ {body} }}"
    assert reason in _refusal(tmp_path, proto_of(text))


def test_an_undefined_value_inside_a_branch(tmp_path: Path) -> None:
    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If(c) <then_branch = t () => (float[2] p) { p = Add(x, nobody) },
                   else_branch = e () => (float[2] q) { q = Neg(x) }> }"""
    assert "reads 'nobody'" in _refusal(tmp_path, proto_of(text))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_nan_weights(tmp_path: Path, dtype: str) -> None:
    proto = proto_of(_ADD, {"w": np.array([1, np.nan], dtype)})
    assert "initializer 'w' holds NaN" in _refusal(tmp_path, proto)


def test_infinite_weights_are_legitimate(tmp_path: Path) -> None:
    model = _load(tmp_path, proto_of(_ADD, {"w": np.array([-np.inf, 0], np.float32)}))
    assert "w" in model.graph.initializers


def test_a_tensor_with_too_few_bytes(tmp_path: Path) -> None:
    proto = proto_of(_ADD, _W)
    proto.graph.initializer[0].dims[:] = [1 << 40]
    assert "tensor 'w' cannot be read" in _refusal(tmp_path, proto)


def test_saving_gives_equal_bytes_and_results(tmp_path: Path) -> None:
    model = _load(tmp_path, proto_of(_ADD, _W))
    save_model(model, tmp_path / "a.onnx")
    save_model(load_model(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    feeds = {"x": np.ones((3, 2), np.float32)}
    (saved,) = run_plain(load_model(tmp_path / "b.onnx"), feeds)
    assert saved.tolist() == [[2.0, 3.0]] * 3


def test_big_weights_go_beside(tmp_path: Path) -> None:
    weights = {"w": np.arange(1024, dtype=np.float32), "s": np.ones(1, np.float32)}
    text = "g (float[N,1024] x) => (float[N,1024] y) { a = Add(x, w) y = Mul(a, s) }"
    model = _load(tmp_path, proto_of(text, weights))
    path = tmp_path / "out" / "big.onnx"
    save_model(model, path, single_file_bytes=1000)
    assert sorted(p.name for p in path.parent.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert (path.parent / "big.onnx.data").stat().st_size == 4096
    assert model_digest(load_model(path)) == model_digest(model)
    tensor = model.graph.initializers["w"].const_value
    assert not isinstance(tensor, ir.ExternalTensor), "saving must leave the model as it was"


def test_the_input_is_never_written(tmp_path: Path) -> None:
    proto = proto_of(_ADD, _W)
    put_outside(proto, tmp_path)
    model = _load(tmp_path, proto)
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "m.onnx")
    before = (tmp_path / "m.onnx").read_bytes()
    for path in (tmp_path / "m.onnx", tmp_path / "w.bin", link):
        with pytest.raises(UsageError, match="never written"):
            save_model(model, path)
    with pytest.raises(UsageError):
        require_not_source(model, link)
    assert (tmp_path / "m.onnx").read_bytes() == before


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    model = _load(tmp_path, proto_of(_ADD, _W))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_model(model, tmp_path / "file" / "out.onnx")


def test_quantised_models_are_recognised(tmp_path: Path) -> None:
    assert not is_quantized(_load(tmp_path, proto_of(_ADD, _W)))
    text = "g (float[2] x) => (uint8[2] y) { y, s, z = DynamicQuantizeLinear(x) }"
    assert is_quantized(_load(tmp_path, proto_of(text)))
