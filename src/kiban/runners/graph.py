"""The stages of dvc.yaml as DVC sees them: which come before one, whether it has to run, and what it reads."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from kiban.core import paths
from kiban.core.errors import KibanError


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


def kept_by_git() -> list[str]:
    """The paths of what a run makes and git keeps."""
    from dvc.repo import Repo

    outputs = [str(output) for output in Repo().index.outs if not output.use_cache]
    ledgers = [str(path) for path in Path("data").glob(f"*{paths.LEDGER_SUFFIX}")]
    return [str(paths.LOCK), str(paths.PARAMS), *outputs, *ledgers]


class Stage(NamedTuple):
    """A `dvc.stage.Stage`, and those whose outputs it reads, as dvc.lock and the working tree were when it was read."""

    own: Any
    upstream: list[Any]


def read(name: str) -> Stage:
    """The stage of that name."""
    return next(each for each in read_all() if each.own.addressing == name)


def read_all() -> Iterator[Stage]:
    """All stages, in the order of dvc.yaml."""
    from dvc.repo import Repo

    index = Repo().index
    for stage in index.stages:
        if stage.cmd:
            yield Stage(stage, list(index.graph.successors(stage)))


def is_changed(stage: Stage) -> bool:
    """Whether a stage has to run, by dvc.lock: what it reads and makes need not be here."""
    made = {output.fs_path for each in stage.upstream for output in each.outs}
    # DVC compares an absent dependency with an output of the same path only.
    parts = [each for each in stage.own.deps if not each.exists and each.fs_path not in made]
    with stage.own.repo.lock:
        return any(_overlapping(part, stage.upstream) for part in parts) or bool(
            stage.own.changed(True, stage.upstream)
        )


def needs(stage: Stage) -> list[str]:
    """The paths of what a stage reads of other stages' outputs, and of its own outputs that it adds to."""
    return [*(str(output) for output in _inputs(stage)), *(str(each) for each in stage.own.outs if each.persist)]


def check(stage: Stage) -> None:
    """Raise KibanError if an output that a stage reads is not here, or has other bytes than dvc.lock says."""
    for output in _inputs(stage):
        maker = output.stage.addressing
        if not output.exists:
            raise KibanError(f"{output}, which the stage {maker} makes, is not here")
        if output.changed_checksum():
            raise KibanError(f"{output} has other bytes than the stage {maker} has made: dvc.lock has their hash")


def _inputs(stage: Stage) -> Iterator[Any]:
    for dependency in stage.own.deps:
        yield from _overlapping(dependency, stage.upstream)


def _overlapping(dependency: Any, upstream: Sequence[Any]) -> Iterator[Any]:
    """The outputs that a dependency is, is in, or has in it."""
    path = PurePosixPath(dependency.fs_path)
    for output in (output for stage in upstream for output in stage.outs):
        other = PurePosixPath(output.fs_path)
        if path.is_relative_to(other) or other.is_relative_to(path):
            yield output
