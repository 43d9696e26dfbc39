"""Passes for the pipeline's own tests: right ones, and wrong ones in every way."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.optimizer.pass_base import Effect, Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import add_constant, remove_dead, replace_output


@dataclasses.dataclass(frozen=True)
class Options(Pass):
    name: ClassVar[str] = "options"

    count: int = 3
    ratio: float = 0.5
    keep: bool = False
    label: str = "plain"
    axes: tuple[int, ...] = ()
    names: tuple[str, ...] = ("a", "b")
    cap: int | None = None

    def call(self, model: ir.Model) -> Outcome:
        return Outcome(model, modified=False)


@dataclasses.dataclass(frozen=True)
class Needy(Pass):
    name: ClassVar[str] = "needy"

    limit: int

    def call(self, model: ir.Model) -> Outcome:
        return Outcome(model, modified=False, refusals=(Refusal("n", "is needy"),))


@dataclasses.dataclass(frozen=True)
class DropIdentity(Pass):
    """Right: drops the first Identity, one a run, so that a group has something to repeat."""

    name: ClassVar[str] = "drop-identity"

    def call(self, model: ir.Model) -> Outcome:
        for node in model.graph:
            if node.op_type == "Identity" and not node.outputs[0].is_graph_output():
                source = node.inputs[0]
                assert source is not None
                replace_output(node.outputs[0], source)
                remove_dead([node])
                return Outcome(model, modified=True)
        return Outcome(model, modified=False)


@dataclasses.dataclass(frozen=True)
class Touch(Pass):
    """Right: notes that it was here, once."""

    name: ClassVar[str] = "touch"

    mark: str = "x"

    def call(self, model: ir.Model) -> Outcome:
        modified = self.mark not in model.metadata_props
        model.metadata_props[self.mark] = "1"
        return Outcome(model, modified)


@dataclasses.dataclass(frozen=True)
class WrongAttribute(Pass):
    """Wrong: changes every LeakyRelu's slope."""

    name: ClassVar[str] = "wrong-attribute"

    def call(self, model: ir.Model) -> Outcome:
        hits = [n for n in model.graph if n.op_type == "LeakyRelu"]
        modified = any(n.attributes["alpha"].as_float() != 0.5 for n in hits)
        for node in hits:
            node.attributes.add(ir.AttrFloat32("alpha", 0.5))
        return Outcome(model, modified)


@dataclasses.dataclass(frozen=True)
class WrongForLarge(Pass):
    """Wrong only for inputs above 8: clips what Abs gives at 8."""

    name: ClassVar[str] = "wrong-for-large"

    def call(self, model: ir.Model) -> Outcome:
        if any(node.op_type == "Min" for node in model.graph):
            return Outcome(model, modified=False)
        node = next(node for node in model.graph if node.op_type == "Abs")
        cap = add_constant(model.graph, "cap", np.array(8, np.float32))
        low = ir.node("Min", [cap, cap], name="capped")
        low.outputs[0].name = "capped_out"
        node.outputs[0].replace_all_uses_with(low.outputs[0])
        low.replace_input_with(0, node.outputs[0])
        model.graph.insert_after(node, low)
        return Outcome(model, modified=True)


@dataclasses.dataclass(frozen=True)
class Raises(Pass):
    """Wrong: leaves the graph half done and raises."""

    name: ClassVar[str] = "raises"

    def call(self, model: ir.Model) -> Outcome:
        node = next(iter(model.graph))
        model.graph.remove(node)
        raise ValueError("half way\nthrough")


@dataclasses.dataclass(frozen=True)
class Invalid(Pass):
    """Wrong: renames an operator to one that does not exist."""

    name: ClassVar[str] = "invalid"

    def call(self, model: ir.Model) -> Outcome:
        node = next(iter(model.graph))
        modified = node.op_type != "NoSuchOp"
        node.op_type = "NoSuchOp"
        return Outcome(model, modified)


@dataclasses.dataclass(frozen=True)
class EngineRefuses(Pass):
    """Wrong: valid by the checker's look at single nodes, but the engine cannot multiply."""

    name: ClassVar[str] = "engine-refuses"

    def call(self, model: ir.Model) -> Outcome:
        for value in list(model.graph.initializers.values()):
            shape = value.shape
            if shape is not None and shape.rank() == 2 and value.name == "w":
                new = add_constant(model.graph, "wide", np.ones((7, 7), np.float32))
                value.replace_all_uses_with(new)
                del model.graph.initializers["w"]
                return Outcome(model, modified=True)
        return Outcome(model, modified=False)


@dataclasses.dataclass(frozen=True)
class Lossy(Pass):
    """Changes results on purpose."""

    name: ClassVar[str] = "lossy"
    effect: ClassVar[Effect] = "lossy"

    def call(self, model: ir.Model) -> Outcome:
        return WrongAttribute().call(model)
