"""Recurrent layers in torch, whose gates stand in another order there."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir

from bmopt.differentiable.call import Call, Op, has_input
from bmopt.differentiable.torch_access import Tensor

_LENGTHS, _PEEPHOLES = 4, 7
_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
"""Torch's gates by their place among ONNX's: ``iofc`` is ``ifgo``, ``zrh`` is ``rzn``."""


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A recurrent layer.

    Attributes:
        call: The node.
        hidden: Numbers in its state.
        directions: 1, or 2 if it goes both ways.
    """

    call: Call
    hidden: int
    directions: int

    def parameters(self) -> list[Tensor]:
        """Return weights and biases as torch has them, direction by direction."""
        _, weight, recurrence, *rest = self.call.inputs
        assert weight is not None
        assert recurrence is not None
        bias = rest[0] if rest and rest[0] is not None else None
        found = []
        for way in range(self.directions):
            found += [self._turned(weight[way]), self._turned(recurrence[way])]
            if bias is not None:
                found += [self._turned(half) for half in bias[way].chunk(2)]
        return found

    def _turned(self, gates: Tensor) -> Tensor:
        order = _ORDERS[self.call.node.op_type]
        parts = gates.reshape(len(order), self.hidden, *gates.shape[1:])
        return self.call.torch.cat([parts[gate] for gate in order])

    def state(self, index: int, x: Tensor) -> Tensor:
        """Return the state that the sequence begins with, ``[directions, batch, hidden]``."""
        given = self.call.inputs[index] if has_input(self.call.node, index) else None
        shape = (self.directions, x.shape[1], self.hidden)
        return x.new_zeros(shape) if given is None else given.to(x.dtype)


def _run(call: Call) -> tuple[Tensor, ...]:
    x, weight = call.inputs[:2]
    assert x is not None
    assert weight is not None
    x = x.to(weight.dtype)
    direction = call.text("direction", "forward")
    layer = _Layer(call, call.integer("hidden_size", 0), 2 if direction == "bidirectional" else 1)
    if direction == "reverse":
        x = x.flip(0)
    parameters, first = layer.parameters(), layer.state(5, x)
    rest = (has_input(call.node, 3), 1, 0.0, call.is_training, layer.directions == 2, False)
    if call.node.op_type == "LSTM":
        y, *last = call.torch.lstm(x, (first, layer.state(6, x)), parameters, *rest)
    else:
        y, *last = call.torch.gru(x, first, parameters, *rest)
    apart = y.reshape(*y.shape[:2], layer.directions, layer.hidden).permute(0, 2, 1, 3)
    return (apart.flip(0) if direction == "reverse" else apart, *last)


def _is_plain(node: ir.Node) -> bool:
    plain = {"direction", "hidden_size", "linear_before_reset", "input_forget", "layout"}
    is_usual = not node.attributes.get_int("input_forget", 0)
    if node.op_type == "GRU":
        is_usual = bool(node.attributes.get_int("linear_before_reset", 0))
    return (
        is_usual
        and not node.attributes.get_int("layout", 0)
        and set(node.attributes) <= plain
        and not has_input(node, _LENGTHS)
        and not has_input(node, _PEEPHOLES)
    )


RECURRENT: dict[str, Op] = {
    "GRU": Op(_run, _is_plain, has_several=True),
    "LSTM": Op(_run, _is_plain, has_several=True),
}
"""Op type -> how it runs."""
