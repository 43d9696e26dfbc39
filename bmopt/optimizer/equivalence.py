"""Whether a rewritten model still gives the original's results, and where it first does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.core.runner import Array, Feeds, OpenModel, Runner
from bmopt.errors import BmoptError
from bmopt.optimizer.pass_log import TensorDifference
from bmopt.optimizer.probe_feeds import seeded_feeds
from bmopt.optimizer.tolerance import Tolerance, first_difference

_TAPS_AT_ONCE = 64

Outputs = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the original model answers.

    Attributes:
        feeds: The feeds that it runs with.
        outputs: Its outputs, one mapping per feed.
        reason: Why there are none, else empty.
    """

    feeds: tuple[Feeds, ...]
    outputs: tuple[Outputs, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """Compares models on fixed feeds.

    Attributes:
        open_model: Opens a model on an engine with the engine's own optimisations off.
        feeds: One inference each: seeded random ones, then samples where there are any.
        tolerance: When results count as equal.
    """

    open_model: OpenModel
    feeds: tuple[Feeds, ...]
    tolerance: Tolerance = dataclasses.field(default_factory=Tolerance)

    @classmethod
    def seeded(
        cls,
        open_model: OpenModel,
        model: ir.Model,
        *,
        samples: Sequence[Feeds] = (),
        seed: int = 0,
        axes: Mapping[str, int] | None = None,
    ) -> Equivalence:
        """Return a check on two seeded random feeds that ``model`` runs with, and ``samples``.

        ``axes`` gives numbers to dynamic axes by symbol.
        """
        random = seeded_feeds(open_model, model, seed=seed, axes=axes)
        return cls(open_model, (*random, *samples))

    def reference(self, model: ir.Model) -> Reference:
        """Run the original; feeds that it refuses are left out, and none at all is a reason."""
        if not self.feeds:
            return Reference((), (), "there are no feeds that the model runs with")
        try:
            with self.open_model(model) as runner:
                answers = [_answer(runner, feeds) for feeds in self.feeds]
        except BmoptError as error:
            return Reference((), (), f"the original model does not open: {error}")
        kept = [(f, a) for f, a in zip(self.feeds, answers, strict=True) if not isinstance(a, str)]
        if not kept:
            return Reference((), (), f"the original model does not run: {answers[0]}")
        return Reference(tuple(f for f, _ in kept), tuple(a for _, a in kept))

    def fault(self, reference: Reference, model: ir.Model) -> str | None:
        """Return what is wrong with ``model``, None where it answers as the reference."""
        try:
            with self.open_model(model) as runner:
                for feeds, want in zip(reference.feeds, reference.outputs, strict=True):
                    found = first_difference(want, runner.run(feeds), self.tolerance)
                    if found is not None:
                        return f"changed the results (output {found})"
        except BmoptError as error:
            return f"made a model that the engine refuses ({error})"
        return None

    def locate(self, before: ir.Model, after: ir.Model) -> TensorDifference | None:
        """Return the first tensor of both models that differs, in ``after``'s order.

        Tensors are matched by name, in the main graph; None where no such tensor differs or a
        model does not run.
        """
        names = _shared_tensors(before, after)
        for start in range(0, len(names), _TAPS_AT_ONCE):
            chunk = names[start : start + _TAPS_AT_ONCE]
            try:
                found = self._difference_at(before, after, chunk)
            except BmoptError:
                return None
            if found is not None:
                return found
        return None

    def _difference_at(
        self, before: ir.Model, after: ir.Model, names: Sequence[str]
    ) -> TensorDifference | None:
        with (
            self.open_model(tap(before, names)) as left,
            self.open_model(tap(after, names)) as right,
        ):
            found = []
            for feeds in self.feeds:
                want, got = left.run(feeds), right.run(feeds)
                wanted = {name: want[name] for name in names}
                found.append(first_difference(wanted, got, self.tolerance))
        order = {name: number for number, name in enumerate(names)}
        return min((f for f in found if f), key=lambda f: order[f.tensor], default=None)


def _answer(runner: Runner, feeds: Feeds) -> Outputs | str:
    """Return the outputs, or why there are none."""
    try:
        return runner.run(feeds)
    except BmoptError as error:
        return str(error)


def tap(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a copy of ``model`` whose main graph also outputs the tensors ``names``."""
    copy = model.clone()
    public = {value.name for value in copy.graph.outputs}
    wanted = set(names) - public
    for node in copy.graph:
        copy.graph.outputs.extend(out for out in node.outputs if out.name in wanted)
    return copy


def _shared_tensors(before: ir.Model, after: ir.Model) -> list[str]:
    known = {out.name for node in before.graph for out in node.outputs if _is_tensor(out)}
    outputs = (out for node in after.graph for out in node.outputs if _is_tensor(out))
    return [out.name for out in outputs if out.name and out.name in known]


def _is_tensor(value: ir.Value) -> bool:
    return value.type is None or isinstance(value.type, ir.TensorType)
