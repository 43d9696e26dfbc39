"""An artifact that is to go into a bundle, read and checked."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bmopt.backends.registry import backend_for
from bmopt.bundle.ports import pixel_options
from bmopt.bundle.target_needs import ENGINE_NAMES, require_target
from bmopt.bundle.tvm_library import require_runs_on
from bmopt.core.target import Target
from bmopt.data.open import preprocessing
from bmopt.data.preprocess import Preprocess
from bmopt.errors import BmoptError, BundleError
from bmopt.graph.model_io import input_specs, load_model
from bmopt.workflow import artifact
from bmopt.workflow.engines import MODEL, read_options
from bmopt.workflow.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Outputs of a top-k: the artifact's output of scores, those in its place, its classes."""

    source: str
    scores: str
    classes: str
    count: int


@dataclasses.dataclass(frozen=True)
class Folded:
    """What was added to a packed graph.

    Attributes:
        plain: The graph with the inputs that the artifact takes, and the outputs of the bundle.
        passes: The passes that added it, as a pipeline's text.
        ranking: The top-k; None without one.
        pixels: The ``preprocess`` that is in the graph; empty where that is as it was.
    """

    plain: ir.Model
    passes: str
    ranking: Ranking | None
    pixels: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Packed:
    """An artifact to pack.

    Attributes:
        path: Its folder.
        name: Its name in the bundle.
        target: Its target.
        manifest: Its manifest.
        graph: The graph to pack.
        engine_file: The engine's file in it; empty where the graph is packed.
        preprocess: The bundle's ``preprocess`` from its calibration samples; None without.
        folded: What ``graph`` has beyond the artifact's; None where it is the artifact's.
    """

    path: Path
    name: str
    target: Target
    manifest: Mapping[str, Any]
    graph: ir.Model
    engine_file: str
    preprocess: Mapping[str, Any] | None
    folded: Folded | None = None

    @property
    def plain(self) -> ir.Model:
        """The graph with the inputs that the artifact takes."""
        return self.graph if self.folded is None else self.folded.plain

    @property
    def engine(self) -> str:
        """The engine's name in a bundle."""
        return ENGINE_NAMES[self.target.engine]

    @property
    def source_name(self) -> str:
        """File name of the source model."""
        return str((self.manifest.get("source") or {}).get("file") or self.path.name)


def read_packed(path: Path, platform: str, taken: set[str]) -> Packed:
    """Read and check an artifact; ``taken`` are names that others in the bundle have.

    Raises:
        ArtifactError: It is none, or damaged.
        BundleError: It cannot be in a bundle for ``platform``.
    """
    manifest, target = artifact.verified(path)
    require_target(target, platform, str(path))
    graph = load_model(path / MODEL)
    builder = backend_for(target).builder
    engine = "" if builder is None else builder.engine_file
    if target.engine == "tvm":
        _require_library(path, engine, platform, manifest)
    options = read_options(path)
    if engine and options is not None and options.strip:
        raise BundleError(
            f"{path}: its engine is stored without weights, which a bundle cannot put back; "
            "build it without --strip"
        )
    return Packed(
        path,
        _free_name(target, taken),
        target,
        manifest,
        graph,
        engine if engine in manifest["files"] else "",
        _preprocess(path, graph),
    )


def _require_library(path: Path, engine: str, platform: str, manifest: Mapping[str, Any]) -> None:
    """Check that an artifact of TVM has its library: the device compiles nothing."""
    if engine not in manifest["files"]:
        raise BundleError(
            f"{path}: has no {engine}, which is compiled before it is packed: run 'bmopt build' "
            "where TVM and a compiler that links for the device are"
        )
    require_runs_on(path / engine, platform)


def _free_name(target: Target, taken: set[str]) -> str:
    plain = target.file_name.replace("+", "-")
    names = [plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 2))]
    return next(name for name in names if name not in taken)


def _preprocess(path: Path, graph: ir.Model) -> Mapping[str, Any] | None:
    """Return how pictures become the input: as the samples did that the artifact was made with."""
    file = path / artifact.RECIPE
    if not file.is_file():
        return None
    recipe = Recipe.from_toml(file)
    options = Preprocess.from_options(recipe.preprocess)
    specs = input_specs(graph)
    for spec in filter(None, (recipe.calib, recipe.val)):
        # The options beside the data are gone where the data is; those in the recipe are not.
        with contextlib.suppress(BmoptError):
            if found := pixel_options(preprocessing(spec, options), specs):
                return found
    return pixel_options(options, specs)
