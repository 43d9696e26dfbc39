"""``bmopt compare``: the outputs of two models on the same inputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bmopt.bench.difference import DifferenceSums, OutputDifference, Tolerance
from bmopt.core.dataset import Batch, Dataset
from bmopt.errors import DataError, ModelError, UsageError
from bmopt.workflow.comparing_layers import compare_layers
from bmopt.workflow.progress import Progress, Quiet
from bmopt.workflow.samples import SampleOptions
from bmopt.workflow.shared_inputs import fitted, open_shared_samples, require_same_inputs
from bmopt.workflow.stored_outputs import (
    OutputWriter,
    StoredOutputs,
    open_stored,
    written_outputs,
)
from bmopt.workflow.subjects import Subject, open_subject

Facts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """How two models are compared.

    Attributes:
        data: The samples; random ones if empty.
        samples: How they are opened.
        shapes: Sizes of inputs with dynamic axes, ``input:1x3x224x224`` each.
        batch_size: Samples per inference where the batch axis is dynamic.
        threads: Threads of a session; 0 lets the engine choose.
        tolerance: When elements count as equal; None where that is not to be judged.
        layers: Compare tensors inside the graphs too.
        any_host: Open artifacts for other hosts too, see ``load_artifact``.
        load: A file that ``save`` wrote, whose inputs are used instead of ``data``.
        save: A file to write inputs and outputs to.
    """

    data: str = ""
    samples: SampleOptions = dataclasses.field(default_factory=SampleOptions)
    shapes: tuple[str, ...] = ()
    batch_size: int = 16
    threads: int = 0
    tolerance: Tolerance | None = None
    layers: bool = False
    any_host: bool = False
    load: Path | None = None
    save: Path | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same inputs.

    Attributes:
        a: What A is: text, name, kind, digest, size_bytes and target.
        b: What B is.
        data: The samples.
        samples: How many there were.
        tolerance: When elements count as equal; None where that was not judged.
        outputs: The outputs that both have, in A's order.
        lone: Outputs that only one has, with whose they are.
        layers: Tensors that both graphs compute, in A's order; empty where not asked for.
    """

    a: Facts
    b: Facts
    data: str
    samples: int
    tolerance: Tolerance | None
    outputs: tuple[OutputDifference, ...]
    lone: Mapping[str, str]
    layers: tuple[OutputDifference, ...] = ()

    @property
    def is_equal(self) -> bool | None:
        """Whether all outputs are equal within the tolerance; None where it is not judged."""
        if self.tolerance is None:
            return None
        return not self.lone and all(output.is_within for output in self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value, but for numbers that are not finite."""
        return {
            "a": dict(self.a),
            "b": dict(self.b),
            "data": self.data,
            "samples": self.samples,
            "tolerance": None if self.tolerance is None else dataclasses.asdict(self.tolerance),
            "equal": self.is_equal,
            "outputs": [output.to_dict() for output in self.outputs],
            "lone": dict(self.lone),
            "layers": [layer.to_dict() for layer in self.layers],
        }


@dataclasses.dataclass(frozen=True)
class _Side:
    """One of the two: a model that runs, or what it answered when it ran."""

    facts: Facts
    subject: Subject | None
    stored: StoredOutputs | None = None

    def answer(self, number: int, batch: Batch) -> dict[str, Any]:
        if self.subject is None:
            assert self.stored is not None
            return dict(self.stored.outputs(number, "a"))
        return self.subject.runner.run(fitted(batch, self.subject.inputs).feeds)


def compare_models(
    a: str, b: str | None, options: CompareOptions, *, progress: Progress | None = None
) -> Comparison:
    """Run A and B on the same inputs and compare what they answer; memory stays bounded.

    Without ``b``, A is compared with what was stored of another run's A: the stored outputs are
    B, which is the reference.

    Raises:
        BmoptError: A model, the samples or an option cannot be used; see ``open_subject``,
            ``open_samples``, ``open_stored``.
        ModelError: The models have different inputs, or no outputs in common.
    """
    told = progress or Quiet()
    stored = None if options.load is None else open_stored(options.load)
    if b is None and stored is None:
        raise UsageError("compare two models, or one with the outputs in --load FILE")
    with contextlib.ExitStack() as stack:
        told.step("opening")
        left = _opened(a, options, stack)
        right = _Side(_stored_facts(stored), None, stored) if b is None else None
        right = right or _opened(str(b), options, stack)
        if options.layers:
            _require_graphs(left, right)
        subjects = [side.subject for side in (left, right) if side.subject is not None]
        require_same_inputs(subjects)
        dataset = stored or open_shared_samples(
            subjects, options.data, options.samples, options.shapes
        )
        return _compare(left, right, dataset, options, told)


def _compare(
    left: _Side, right: _Side, dataset: Dataset, options: CompareOptions, progress: Progress
) -> Comparison:
    progress.step("outputs")
    pairs = _Pairs(options.tolerance or Tolerance())
    with _writer(left, right, options.save) as writer:
        for number, batch in enumerate(dataset.batches(options.batch_size)):
            answers = left.answer(number, batch), right.answer(number, batch)
            pairs.add(batch, *answers)
            if writer is not None:
                writer.add(batch, *answers)
            progress.advance(pairs.samples, dataset.size)
        outputs = pairs.results(dataset.name)
    return Comparison(
        a=left.facts,
        b=right.facts,
        data=dataset.name,
        samples=pairs.samples,
        tolerance=options.tolerance,
        outputs=outputs,
        lone=pairs.lone,
        layers=_layers(left, right, dataset, options, progress) if options.layers else (),
    )


class _Pairs:
    """The outputs of both, paired and added up."""

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._sums: dict[tuple[str, str], DifferenceSums] = {}
        self.lone: dict[str, str] = {}
        self.samples = 0

    def add(self, batch: Batch, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        if not self._sums:
            self._pair(list(a), list(b))
        for (name_a, name_b), sums in self._sums.items():
            sums.update(a.get(name_a), b.get(name_b), batch)
        self.samples += batch.size

    def results(self, data: str) -> tuple[OutputDifference, ...]:
        if not self._sums:
            raise DataError(f"{data}: has no samples; give at least one")
        return tuple(sums.result() for sums in self._sums.values())

    def _pair(self, a: Sequence[str], b: Sequence[str]) -> None:
        """Pair by name; by order where they have no name in common, but as many outputs."""
        common = [(name, name) for name in a if name in b]
        if not common and len(a) == len(b):
            common = list(zip(a, b, strict=True))
        if not common:
            raise ModelError(
                f"no output in common: A has {', '.join(a)}, B has {', '.join(b)}; compare like "
                "models"
            )
        for one, other in common:
            name = one if one == other else f"{one} / {other}"
            self._sums[one, other] = DifferenceSums(name, self._tolerance)
        paired_a, paired_b = ({pair[side] for pair in common} for side in (0, 1))
        self.lone = {name: "A" for name in a if name not in paired_a}
        self.lone |= {name: "B" for name in b if name not in paired_b}


def _require_graphs(left: _Side, right: _Side) -> None:
    for side in (left, right):
        if side.subject is None:
            raise UsageError("--layers needs two models; stored outputs have no tensors inside")
        if side.subject.graph is None:
            raise UsageError(f"--layers: {side.subject.text} has no ONNX graph to look into")


def _layers(
    left: _Side, right: _Side, dataset: Dataset, options: CompareOptions, progress: Progress
) -> tuple[OutputDifference, ...]:
    a, b = left.subject, right.subject
    assert a is not None
    assert a.graph is not None
    assert b is not None
    assert b.graph is not None
    progress.step("tensors inside")
    return compare_layers(
        (a.graph, b.graph),
        dataset,
        options.batch_size,
        options.tolerance or Tolerance(),
        fit=lambda batch: (fitted(batch, a.inputs), fitted(batch, b.inputs)),
        progress=progress.advance,
    )


def _opened(text: str, options: CompareOptions, stack: contextlib.ExitStack) -> _Side:
    subject = stack.enter_context(
        open_subject(text, threads=options.threads, any_host=options.any_host)
    )
    keys = ("text", "name", "kind", "digest", "size_bytes", "target")
    return _Side({key: getattr(subject, key) for key in keys}, subject)


def _stored_facts(stored: StoredOutputs | None) -> Facts:
    assert stored is not None
    return {**stored.meta.get("a", {}), "stored": str(stored.path)}


@contextlib.contextmanager
def _writer(left: _Side, right: _Side, path: Path | None) -> Iterator[OutputWriter | None]:
    if path is None:
        yield None
        return
    with written_outputs(path, {"a": dict(left.facts), "b": dict(right.facts)}) as writer:
        yield writer
