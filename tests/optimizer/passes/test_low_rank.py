from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.sparsity.inputs import input_moments
from bmopt.core.input_moments import InputMoments
from bmopt.core.runner import Array
from bmopt.errors import PassError, PruningError
from bmopt.graph.low_rank import Decomposition
from bmopt.graph.model_digest import model_digest
from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.low_rank import LowRank
from bmopt.optimizer.pipeline_text import parse_steps, pass_text, passes_of
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.rewriting import check_pass, parse, run_plain

CASES = {
    "matmul": ("x [N,20,40]", "[N,20,48]", "MatMul(x, w)", (40, 48), 1),
    "vector": ("x [40]", "[48]", "MatMul(x, w)", (40, 48), 1),
    "gemm": ("x [N,40]", "[N,48]", "Gemm<alpha=0.5, beta=2.0>(x, w, b)", (40, 48), 1),
    "gemm_t": ("x [N,40]", "[N,48]", "Gemm<transB=1>(x, w)", (48, 40), 0),
    "conv": ("x [N,40,5,5]", "[N,48,5,5]", "Conv(x, w, b)", (48, 40, 1, 1), 0),
    "strided": (
        "x [N,40,5,5]",
        "[N,48,4,4]",
        "Conv<strides=[2,2], pads=[1,1,1,1], kernel_shape=[1,1]>(x, w, b)",
        (48, 40, 1, 1),
        0,
    ),
    "conv1d": ("x [N,40,7]", "[N,48,7]", "Conv(x, w, b)", (48, 40, 1), 0),
}


def thin(rank: int, outputs: int = 48, inputs: int = 40, noise: float = 0.0) -> Array:
    rng = np.random.default_rng(rank)
    found = rng.standard_normal((outputs, rank)) @ rng.standard_normal((rank, inputs))
    return found + noise * rng.standard_normal(found.shape)


def model_of(kind: str, matrix: Array) -> ir.Model:
    source, result, call, shape, axis = CASES[kind]
    name, dims = source.split()
    model = parse(
        f"g (float{dims} {name}, float[1] w, float[48] b) => (float{result} y) {{ y = {call} }}"
    )
    array = (matrix if axis == 0 else matrix.T).reshape(shape).astype(np.float32)
    given = {"w": array, "b": np.linspace(-1, 1, 48, dtype=np.float32)}
    node = model.graph[0]
    for value in list(model.graph.inputs)[1:]:
        array = given[value.name or ""]
        new = ir.Value(
            name=f"{value.name}0",
            const_value=ir.tensor(array, name=f"{value.name}0"),
            type=ir.TensorType(ir.DataType.FLOAT),
            shape=ir.Shape(array.shape),
        )
        model.graph.register_initializer(new)
        value.replace_all_uses_with(new)
        model.graph.inputs.remove(value)
    node.name = "product"
    return model


@pytest.mark.parametrize("kind", CASES)
def test_a_thin_matrix_becomes_two_that_compute_the_same(kind: str) -> None:
    model = model_of(kind, thin(6))
    outcome = check_pass(LowRank(energy=0.999999), model, tolerance=1e-3)
    assert outcome.modified
    first, second = model.graph
    assert second.name == "product"
    assert origin_of(first) == origin_of(second)
    assert len(second.inputs) == len(model_of(kind, thin(6)).graph[0].inputs)
    value = first.outputs[0]
    assert value.shape is not None
    assert list(value.shape)[1 if "conv" in kind or kind == "strided" else -1] == 6
    told = list(value.shape)
    value.shape = None
    InferShapes()(model)
    assert [d for d in value.shape or () if isinstance(d, int)] == [
        d for d in told if isinstance(d, int)
    ], "what the pass told of the shape is so"


@pytest.mark.parametrize(
    ("options", "rank"),
    [
        ({"rank": 5}, 5),
        ({"ratio": 0.5}, 10),
        ({"energy": 1.0}, 12),
        ({"rank": 5, "multiple": 4}, 8),
        ({}, None),
    ],
)
def test_the_rank_comes_from_one_option(options: dict[str, float], rank: int | None) -> None:
    model = model_of("gemm_t", thin(12))
    LowRank(**options)(model)  # type: ignore[arg-type]
    found = Decomposition(thin(12))
    wanted = found.rank_for(0.95) if rank is None else rank
    assert list(model.graph[0].outputs[0].shape or ())[-1] == wanted
    assert found.energy(wanted) >= (0.95 if rank is None else 0.0)


def test_what_saves_nothing_is_refused() -> None:
    model = model_of("conv", thin(40))
    outcome = check_pass(LowRank(energy=0.9999), model)
    assert not outcome.modified
    (refusal,) = outcome.refusals
    assert "at which two products take as many multiply-adds" in refusal.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("float[64,4,3,3] w = {0}> { y = Conv(x, w)", "by more than one tap"),
        ("float[64,2,1,1] w = {0}> { y = Conv<group=2>(x, w)", "in groups"),
        (
            "float[64,4,1,1] w = {0}> { y = Conv(x, w)",
            "by 64 x 4 channels, where 32 are the least",
        ),
        ("float[4,64,1,1] w = {0}> { y = ConvTranspose(x, w)", "transposed convolution"),
    ],
)
def test_others_are_refused_with_a_reason(text: str, reason: str) -> None:
    shape = text[text.index("[") + 1 : text.index("]")]
    count = int(np.prod([int(d) for d in shape.split(",")]))
    text = text.replace("{0}", "{" + ",".join(["1"] * count) + "}", 1)
    model = parse(f"g (float[1,4,6,6] x) => (float[1,64,A,B] y) <{text} }}")
    outcome = LowRank()(model)
    assert not outcome.modified
    assert reason in outcome.refusals[0].reason


def test_only_those_that_are_named() -> None:
    for options in ({"nodes": ("other*",)}, {"exclude": ("prod*",)}):
        outcome = LowRank(**options)(model_of("matmul", thin(4)))  # type: ignore[arg-type]
        assert not outcome.modified
        assert outcome.refusals == ()


def rows(count: int, seed: int) -> Array:
    """Inputs that hardly leave a few directions, which are not the weight's."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(77).standard_normal((5, 40))
    found = rng.standard_normal((count, 5)) @ mix + 0.05 * rng.standard_normal((count, 40))
    return (found + np.linspace(-2, 3, 40)).astype(np.float32)


def test_with_moments_the_outputs_are_approximated() -> None:
    matrix = thin(40)
    model = model_of("gemm", matrix)
    moments = input_moments(model, MemoryDataset({"x": rows(256, 0)}), PlainRunner)
    assert set(moments.forms) == set(), "a scaled Gemm is not rows times a matrix"
    model = model_of("gemm_t", matrix)
    moments = input_moments(model, MemoryDataset({"x": rows(256, 0)}), PlainRunner)
    plain, aware = model.clone(), model.clone()
    LowRank(rank=5)(plain)
    rewrite = LowRank(rank=5, moments=moments)
    assert rewrite(aware).modified
    assert not rewrite(aware).modified
    feeds = {"x": rows(64, 1)}
    (wanted,) = run_plain(model, feeds)
    errors = [np.linalg.norm(run_plain(one, feeds)[0] - wanted) for one in (plain, aware)]
    assert errors[1] < 0.2 * errors[0]
    off = run_plain(aware, feeds)[0] - wanted
    assert np.abs(off.mean(0)).max() < 0.2 * np.abs(off).max(), "the bias has the mean"


def test_moments_of_another_model_or_size_are_refused() -> None:
    model = model_of("matmul", thin(4))
    with pytest.raises(PruningError, match="seen in another model"):
        LowRank(moments=InputMoments("0" * 64, {}, {}))(model)
    wrong = InputMoments(model_digest(model), {"product": np.eye(3)}, {"product": np.zeros(3)})
    with pytest.raises(PruningError, match="'product' reads have another size"):
        LowRank(moments=wrong)(model)


def test_moments_are_used_by_the_best_approximation() -> None:
    """No factors of that rank have a smaller error, as trying many others shows."""
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((6, 5))
    form = np.cov(rng.standard_normal((5, 30)))
    left, right = Decomposition(weight, form).factors(2)

    def error(product: Array) -> float:
        off = weight - product
        return float(np.trace(off @ form @ off.T))

    least = error(left @ right)
    for _ in range(200):
        moved = (left + 0.1 * rng.standard_normal(left.shape)) @ (
            right + 0.1 * rng.standard_normal(right.shape)
        )
        assert error(moved) >= least * (1 - 1e-6)
    values = np.linalg.svd(weight @ np.linalg.cholesky(form), compute_uv=False)
    assert least == pytest.approx(float(np.square(values[2:]).sum()), rel=1e-3)


def test_a_weight_of_zeros_has_rank_one() -> None:
    model = model_of("matmul", np.zeros((48, 40)))
    assert check_pass(LowRank(), model).modified
    assert list(model.graph[0].outputs[0].shape or ())[-1] == 1


def test_text_round_trips() -> None:
    text = "low-rank{ratio=0.5,multiple=8,exclude=[head]}"
    (found,) = passes_of(parse_steps(text))
    assert found == LowRank(ratio=0.5, multiple=8, exclude=("head",))
    assert pass_text(found) == text


@pytest.mark.parametrize(
    "options", [{"energy": 0.9, "rank": 3}, {"energy": 1.5}, {"ratio": -1.0}, {"multiple": 0}]
)
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(PassError, match="low-rank: "):
        LowRank(**options)  # type: ignore[arg-type]
