"""Apply a cast plan: half precision where it says, float32 elsewhere, Casts between."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.core.cast_plan import CastPlan
from bmopt.errors import QuantizationError
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.nesting import nodes_in
from bmopt.graph.opset import raise_opset
from bmopt.optimizer.casting.conversion import convert
from bmopt.optimizer.casting.new_types import NewTypes
from bmopt.optimizer.pass_base import Effect, Outcome, Pass
from bmopt.optimizer.rewrite import share_names


@dataclasses.dataclass(frozen=True)
class CastFloat(Pass):
    """Turn the float32 tensors of a model into float16 or bfloat16 as a cast plan says.

    1. Nodes that the plan does not list compute in half precision, in sub-graphs too; so do the
       values that If, Loop and Scan pass in and out. Nodes of other domains, nodes that read
       sequences, and ops that ONNX has in float32 only stay.
    2. Constants become half precision; one that a float32 node reads too has two copies. Finite
       numbers beyond the type, which mask something out, become half its largest number.
    3. A Cast stands only where a tensor passes from one type to the other: one per tensor and
       type. Inputs and outputs keep their types if the plan says so.
    4. Scales of Q/DQ nodes become half precision too, and stored weights are rounded anew for
       them: TensorRT then writes half precision from its integer matrix kernels.
    5. The opset is raised if the ops need that in half precision: to 19 for Q/DQ, and to 22 for
       convolutions in bfloat16.

    A model that the plan was applied to already is not modified.

    Attributes:
        plan: Which nodes stay in float32, and in which type the others compute; from Python only.
    """

    name: ClassVar[str] = "cast-float"
    effect: ClassVar[Effect] = "lossy"

    plan: CastPlan

    def call(self, model: ir.Model) -> Outcome:
        """Convert the model in place.

        Raises:
            QuantizationError: The plan names a node that the model has not.
            ModelError: The opset would have to be raised and cannot be.
        """
        self._require_known(model)
        types = self._types(model)
        needed = max(
            (types.ports.opset_for(n) or 0 for n in nodes_in(model.graph) if types.changes(n)),
            default=0,
        )
        raised = needed > model.opset_imports.get("", 1)
        if raised:
            model.graph = raise_opset(model, needed).graph
            share_names(model)
            types = self._types(model)
        modified = convert(model, types)
        return Outcome(model, modified=modified or raised)

    def _types(self, model: ir.Model) -> NewTypes:
        ports = HalfPorts(model, self.plan.dtype)
        return NewTypes(model.graph, ports, self.plan.float_nodes, keep_io=self.plan.keep_io)

    def _require_known(self, model: ir.Model) -> None:
        names = {node.name for node in nodes_in(model.graph)}
        if unknown := [name for name in self.plan.float_nodes if name not in names]:
            raise QuantizationError(
                f"the cast plan names {unknown[0]!r}, which the model has not; "
                "it was made for another model"
            )
