"""``bmopt inspect``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmopt.cli.artifact_facts import print_artifact
from bmopt.cli.options import add_json, add_shapes
from bmopt.cli.output import print_json, print_table, say
from bmopt.cli.units import count_text, shape_text, size_text
from bmopt.cli.verb import Verb
from bmopt.errors import UsageError

if TYPE_CHECKING:
    from bmopt.graph.facts import ModelFacts, NodeFacts


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="the .onnx file, or an artifact folder: what its engine is made of",
    )
    add_shapes(parser)
    parser.add_argument("--layers", action="store_true", help="list every node")
    parser.add_argument(
        "--sparsity",
        action="store_true",
        help="show the zeros of every product's weight, and the patterns that they have",
    )
    add_json(parser)


def _run(arguments: argparse.Namespace) -> int:
    import dataclasses

    from bmopt.workflow.inspecting import inspect_artifact, inspect_model

    if arguments.sparsity:
        _show_sparsity(arguments)
        return 0
    if arguments.model.is_dir():
        found = inspect_artifact(arguments.model)
        if arguments.json:
            print_json(dataclasses.asdict(found))
        else:
            print_artifact(found)
        return 0
    facts = inspect_model(arguments.model, shapes=tuple(arguments.shapes or ()))
    if arguments.json:
        document = dataclasses.asdict(facts)
        print_json(document if arguments.layers else {**document, "nodes": len(facts.nodes)})
        return 0
    _print_facts(facts)
    if arguments.layers:
        say()
        _print_layers(facts.nodes)
    return 0


def _show_sparsity(arguments: argparse.Namespace) -> None:
    from bmopt.cli.sparsity_table import print_sparsity, sparsity_document
    from bmopt.workflow.inspecting import inspect_sparsity

    if arguments.shapes or arguments.layers:
        raise UsageError("--sparsity tells of weights: leave out --shapes and --layers")
    found = inspect_sparsity(arguments.model)
    if arguments.json:
        print_json(sparsity_document(found))
    else:
        print_sparsity(found)


def _print_facts(facts: ModelFacts) -> None:
    values = [("input", value) for value in facts.inputs]
    values += [("output", value) for value in facts.outputs]
    rows = [(kind, value.name, value.dtype, shape_text(value.shape)) for kind, value in values]
    print_table(("", "name", "type", "shape"), rows)
    say()
    print_table(("op", "nodes"), [(op, str(n)) for op, n in facts.ops.items()], right=(1,))
    say()
    opsets = ", ".join(f"{domain or 'ai.onnx'} {v}" for domain, v in facts.opsets.items())
    say(f"opsets: {opsets}; IR version {facts.ir_version}")
    weights = f"{size_text(facts.weight_bytes)} of constants"
    say(f"parameters: {count_text(facts.parameters)} ({weights})")
    say(f"MACs of one inference: {_macs_text(facts)}")
    if facts.dynamic_axes:
        say(f"dynamic axes: {_axes_text(facts)}")
    if facts.quantized:
        say("the model computes in integers already")


def _macs_text(facts: ModelFacts) -> str:
    unknown = len(facts.macs_unknown)
    rest = f", without {unknown} nodes whose number is not known" if unknown else ""
    return f"{count_text(facts.macs)}{rest}"


def _axes_text(facts: ModelFacts) -> str:
    return ", ".join(
        f"{axis}{f' ({symbol})' if symbol else ''} taken as {facts.sizes.get(symbol, 1)}"
        for axis, symbol in facts.dynamic_axes.items()
    )


def _print_layers(nodes: Sequence[NodeFacts]) -> None:
    headers = ("node", "op", "shape", "parameters", "weights", "activations", "MACs")
    print_table(headers, [_layer(node) for node in nodes], right=(3, 4, 5, 6))


def _layer(node: NodeFacts) -> tuple[str, ...]:
    return (
        f"{node.inside}/{node.name}" if node.inside else node.name,
        node.op_type,
        shape_text(node.shape),
        count_text(node.parameters),
        size_text(node.weight_bytes),
        "?" if node.activation_bytes is None else size_text(node.activation_bytes),
        "?" if node.macs is None else count_text(node.macs),
    )


VERB = Verb("inspect", "show a model's inputs, ops, parameters and MACs", _add_arguments, _run)
