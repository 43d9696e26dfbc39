"""Artifacts on a board: which can run there, and how they are opened."""

from __future__ import annotations

from pathlib import Path

from bmopt.backends.registry import backend_for
from bmopt.core.board import Board, BoardLink, Remote
from bmopt.core.target import Target
from bmopt.errors import ArtifactError, BmoptError, UsageError
from bmopt.graph.model_io import input_specs, load_model
from bmopt.workflow.artifact import read_manifest, verified
from bmopt.workflow.engines import MODEL
from bmopt.workflow.subjects import Subject

_REMOTE = "tvm-fp32"
"""A target of the engine that reaches boards."""

_OBJECTS = ".tar"


def link_to(board: Board, *, timeout_s: float) -> BoardLink:
    """Connect to a board.

    Raises:
        BoardError: It cannot be reached, or does not answer within ``timeout_s`` seconds.
        HostError: TVM is not installed here.
    """
    engine = backend_for(Target.parse(_REMOTE))
    assert isinstance(engine, Remote)
    return engine.connect(board, timeout_s=timeout_s)


def runs_on_boards(text: str) -> bool:
    """Whether what a user wrote is an artifact whose engine's files can be sent to a board."""
    path = Path(text)
    if not path.is_dir():
        return False
    try:
        target = Target.parse(read_manifest(path)["target"])
    except BmoptError:
        return False  # told when it is opened
    return isinstance(backend_for(target), Remote)


def require_board_target(target: Target) -> None:
    """Check that what is compiled for a target can be sent to a board.

    Raises:
        UsageError: It cannot.
    """
    if not isinstance(backend_for(target), Remote):
        raise UsageError(f"{target}: only what is compiled for tvm-* can be sent to a board")


def open_on_board(text: str, link: BoardLink, *, threads: int = 0) -> Subject:
    """Check an artifact folder, send its library to the board, and open it there.

    Where the artifact has objects instead of a library, the board's server links them.

    Raises:
        ArtifactError: The folder is damaged, has no library yet, or the board cannot load it.
        BoardError: The board dropped off.
        HostError: It was compiled for another processor than the board's.
    """
    path = Path(text)
    manifest, target = verified(path)
    library = engine_file(path, target)
    return Subject(
        text=text,
        name=path.resolve().name,
        kind="artifact",
        path=path,
        digest=str(manifest["digest"]),
        size_bytes=library.stat().st_size,
        target=str(target),
        inputs=input_specs(load_model(path / MODEL)),
        runner=link.open(library, threads=threads),
        graph=path / MODEL,
    )


def engine_file(path: Path, target: Target) -> Path:
    """Return the library of an artifact, or its objects.

    Raises:
        ArtifactError: It has neither.
    """
    builder = backend_for(target).builder
    assert builder is not None
    library = path / builder.engine_file
    for file in (library, library.with_suffix(_OBJECTS)):
        if file.is_file():
            return file
    raise ArtifactError(f"{path}: has no library yet: run 'bmopt build {path}' where TVM is")
