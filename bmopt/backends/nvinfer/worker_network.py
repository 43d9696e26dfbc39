"""From an ONNX file to a network with optimisation profiles, inside the builder's process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bmopt.backends.nvinfer import parser_errors
from bmopt.backends.nvinfer.build_spec import BuildSpec
from bmopt.backends.nvinfer.io_tensors import read_dims
from bmopt.backends.nvinfer.native import Native
from bmopt.core.engine import Profile
from bmopt.errors import BuildError


def create_network(sdk: Native, builder: Native) -> Native:
    """Return an empty network that takes its types from the graph.

    TensorRT 10 has to be asked for that; TensorRT 11 does nothing else and accepts the flag.
    """
    flag = getattr(sdk.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return builder.create_network(0 if flag is None else 1 << int(flag))


def parse(sdk: Native, builder: Native, logger: Native, spec: BuildSpec) -> tuple[Native, Native]:
    """Return the network of ``spec.graph``, and the parser, which has to live as long.

    Raises:
        BuildError: The parser refuses the model; the message names the node.
    """
    # From the file, so that weights beside it are found.
    network = create_network(sdk, builder)
    parser = sdk.OnnxParser(network, logger)
    if not parser.parse_from_file(str(spec.graph)):
        refusals = parser_errors.read_refusals(parser)
        raise BuildError(_refusal(sdk, builder, logger, spec, refusals))
    return network, parser


def _refusal(
    sdk: Native,
    builder: Native,
    logger: Native,
    spec: BuildSpec,
    refusals: list[parser_errors.Refusal],
) -> str:
    # A parser and a network that failed cannot be used again.
    network = create_network(sdk, builder)
    parts = parser_errors.accepted_parts(sdk.OnnxParser(network, logger), spec.graph)
    return parser_errors.message(spec.name, refusals, parts, _count_nodes(spec.graph))


def _count_nodes(graph: Path) -> int:
    import onnx

    return len(onnx.load(str(graph), load_external_data=False).graph.node)


def add_profiles(
    builder: Native, network: Native, config: Native, profiles: Mapping[str, Profile]
) -> dict[str, tuple[int, ...]]:
    """Give the dynamic inputs their shapes; return each one's usual shape.

    Raises:
        BuildError: A dynamic input has no profile, a profile does not fit its input, or the SDK
            refuses it.
    """
    inputs = {t.name: t for t in (network.get_input(i) for i in range(network.num_inputs))}
    unknown = sorted(set(profiles) - set(inputs))
    if unknown:
        raise BuildError(
            f"--shapes {unknown[0]}: the model has no such input, but {_listed(inputs)}"
        )
    usual: dict[str, tuple[int, ...]] = {}
    made = builder.create_optimization_profile()
    for name, tensor in inputs.items():
        _require_data(name, tensor)
        shape = _shape(name, tensor)
        profile = profiles.get(name)
        if -1 not in shape and profile is None:
            continue
        profile = _fitting(name, shape, profile)
        if -1 in shape:
            made.set_shape(name, profile.min, profile.opt, profile.max)
            usual[name] = profile.opt
    if usual and config.add_optimization_profile(made) < 0:
        texts = ", ".join(f"{name}:{profiles[name]}" for name in usual)
        raise BuildError(f"the engine refuses the shapes {texts}; give others with --shapes")
    return usual


def _require_data(name: str, tensor: Native) -> None:
    if getattr(tensor, "is_shape_tensor", False):
        raise BuildError(
            f"input {name!r} holds a shape, which no profile of shapes covers; "
            "make it constant in the model"
        )


def _shape(name: str, tensor: Native) -> tuple[int, ...]:
    try:
        return read_dims(tensor.shape)
    except ValueError as error:
        raise BuildError(
            f"input {name!r} has an unknown number of axes; declare them in the model"
        ) from error


def _fitting(name: str, shape: tuple[int, ...], profile: Profile | None) -> Profile:
    declared = "x".join("?" if size < 0 else str(size) for size in shape)
    if profile is None:
        raise BuildError(
            f"input {name!r} has dynamic axes ({declared}); "
            f"say which shapes to build for with --shapes {name}:MIN:OPT:MAX"
        )
    shapes = (profile.min, profile.opt, profile.max)
    if any(len(given) != len(shape) for given in shapes):
        raise BuildError(f"--shapes {name}:{profile}: the input has the shape {declared}")
    for axis, size in enumerate(shape):
        low, usual, high = (given[axis] for given in shapes)
        if not 0 <= low <= usual <= high:
            raise BuildError(f"--shapes {name}:{profile}: axis {axis} is not MIN <= OPT <= MAX")
        if size >= 0 and not low == high == size:
            raise BuildError(
                f"--shapes {name}:{profile}: axis {axis} of the input is always {size} "
                f"({declared})"
            )
    return profile


def _listed(inputs: Mapping[str, Native]) -> str:
    return ", ".join(repr(name) for name in inputs)
