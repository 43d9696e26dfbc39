"""The quantisation plan: which nodes run in integers and every scale, as an editable file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bmopt.errors import QuantizationError

FORMAT_VERSION = 3


@dataclasses.dataclass(frozen=True)
class ActivationQuant:
    """Per-tensor encoding of an activation: ``real = scale * (integer - zero_point)``."""

    dtype: str
    scale: float
    zero_point: int


@dataclasses.dataclass(frozen=True)
class WeightQuant:
    """Encoding of the constant that a node reads as its weight, symmetric around 0.

    Attributes:
        input: Index of the weight among the node's inputs.
        dtype: Element type, ``"int8"`` or ``"float8e4m3fn"`` (zero point 0) or ``"uint8"``
            (zero point 128).
        axis: Channel axis of ``scales``; ``None`` where there is one scale.
        scales: One scale, or one per channel.
        limit: Largest magnitude of a stored value.
        bias: Index of a bias input that becomes int32 at scale ``input scale * scales``.
    """

    input: int
    dtype: str
    axis: int | None
    scales: tuple[float, ...]
    limit: int = 127
    bias: int | None = None


@dataclasses.dataclass(frozen=True)
class QuantPlan:
    """What to quantise and how; made from ranges, applied by the ``quantize`` pass.

    Attributes:
        model: Digest of the model it is for.
        scheme: Name of the scheme it follows.
        method: How ranges were chosen.
        steps: What is done to the weights when the plan is followed, by name.
        source: Digest of the model before its channels were equalised; empty where ``model`` is
            that one.
        methods: Tensor -> the method that chose its range, where that is another one.
        activations: Tensor -> encoding; each gets one Q/DQ pair.
        weights: Product node -> encoding of its weight.
        integer: Nodes that are to run in integers, in graph order.
        folded: Activation nodes removed because their output's encoding clips alike.
        moved: Integer nodes that only move values and read and write the integers themselves.
        float_nodes: Node that could run in integers but does not -> reason.
        reads: Integer node -> the inputs that read a Q/DQ pair, for a scheme that quantises
            inputs; None where pairs stand behind integer nodes and all of their inputs are read
            so.
    """

    model: str
    scheme: str
    method: str
    activations: Mapping[str, ActivationQuant]
    weights: Mapping[str, WeightQuant]
    integer: tuple[str, ...]
    folded: tuple[str, ...]
    moved: tuple[str, ...]
    float_nodes: Mapping[str, str]
    reads: Mapping[str, tuple[int, ...]] | None = None
    methods: Mapping[str, str] = dataclasses.field(default_factory=dict)
    steps: tuple[str, ...] = ()
    source: str = ""

    @property
    def float_model(self) -> str:
        """Digest of the float model before its channels were equalised."""
        return self.source or self.model

    def require_model(self, digest: str) -> None:
        """Raise ``QuantizationError`` unless the plan is for the model ``digest``."""
        if digest != self.model:
            raise QuantizationError(
                f"the quantisation plan is for model {self.model[:12]}, not for {digest[:12]}"
            )

    def to_json(self) -> str:
        """Return the plan as readable JSON; ``from_json`` gives an equal plan back."""
        document = {"bmopt_plan": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(document, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "plan") -> QuantPlan:
        """Parse ``to_json``'s text.

        Raises:
            QuantizationError: The text is no plan of this version.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document.pop("bmopt_plan") != FORMAT_VERSION:
                raise QuantizationError(f"{source}: plan of another version; compile again")
            document["activations"] = {
                k: ActivationQuant(**v) for k, v in document["activations"].items()
            }
            document["weights"] = {
                k: WeightQuant(**{**v, "scales": tuple(v["scales"])})
                for k, v in document["weights"].items()
            }
            for key in ("integer", "folded", "moved", "steps"):
                document[key] = tuple(document[key])
            if document["reads"] is not None:
                document["reads"] = {k: tuple(v) for k, v in document["reads"].items()}
            return cls(**document)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise QuantizationError(f"{source}: is not a quantisation plan ({error!r})") from error
