"""The stages of dvc.yaml as DVC sees them: which come before one, whether it has to run, and what it reads."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from kiban.core.errors import KibanError


class Input(NamedTuple):
    """An output that a stage reads: its path, and the stage that makes it."""

    path: str
    maker: str


def before() -> dict[str, list[str]]:
    """By stage, in the order of dvc.yaml: all stages before it, in that order too."""
    import networkx as nx
    from dvc.repo import Repo

    repo = Repo()
    names = [stage.addressing for stage in repo.index.stages if stage.cmd]
    earlier = {
        stage.addressing: {each.addressing for each in nx.descendants(repo.index.graph, stage)}
        for stage in repo.index.stages
    }
    return {name: [each for each in names if each in earlier[name]] for name in names}


def is_changed(name: str) -> bool:
    """Whether a stage has to run, by dvc.lock: what it reads and makes need not be here."""
    stage, upstream = _read(name)
    made = {output.fs_path for each in upstream for output in each.outs}
    # DVC compares an absent dependency with an output of the same path only.
    parts = [each for each in stage.deps if not each.exists and each.fs_path not in made]
    with stage.repo.lock:
        return any(_overlapping(part, upstream) for part in parts) or bool(stage.changed(True, upstream))


def inputs(name: str) -> list[Input]:
    """The outputs of other stages that a stage reads."""
    stage, upstream = _read(name)
    outputs = [output for dependency in stage.deps for output in _overlapping(dependency, upstream)]
    return list(dict.fromkeys(Input(str(output), output.stage.addressing) for output in outputs))


def kept(name: str) -> list[str]:
    """The outputs of a stage that it adds to."""
    return [str(output) for output in _read(name)[0].outs if output.persist]


def check(name: str) -> None:
    """Raise KibanError if an output that a stage reads is not here, or has other bytes than dvc.lock says."""
    stage, upstream = _read(name)
    for dependency in stage.deps:
        for output in _overlapping(dependency, upstream):
            if not output.exists:
                raise KibanError(f"{output}, which the stage {output.stage.addressing} makes, is not here")
            if output.changed_checksum():
                maker = output.stage.addressing
                raise KibanError(f"{output} has other bytes than the stage {maker} has made: dvc.lock has their hash")


def _read(name: str) -> tuple[Any, list[Any]]:
    """A `dvc.stage.Stage`, and those whose outputs it reads."""
    from dvc.repo import Repo

    graph = Repo().index.graph
    stage = next(each for each in graph if each.addressing == name)
    return stage, list(graph.successors(stage))


def _overlapping(dependency: Any, upstream: Sequence[Any]) -> Iterator[Any]:
    """The outputs that a dependency is, is in, or has in it."""
    path = PurePosixPath(dependency.fs_path)
    for output in (output for stage in upstream for output in stage.outs):
        other = PurePosixPath(output.fs_path)
        if path.is_relative_to(other) or other.is_relative_to(path):
            yield output
