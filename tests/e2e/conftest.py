"""Clones of the project as it lies in the working tree, and the real commands in them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import INCOMING, clone_to, commit, run, with_model, write_incoming
from slice import SLICE


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_to(tmp_path_factory.mktemp("a folder of another name"), with_runs=False)


@pytest.fixture(scope="module")
def served(clone: Path, evaluated: Path) -> Path:
    """The clone with the model of the slice, to be served."""
    return with_model(clone, evaluated)


@pytest.fixture(scope="session")
def validated(slices: dict[str, list[str]], once: Callable[..., Path]) -> Path:
    """A clone whose flights are the slice's, from CSV files in incoming/, run and committed up to validate_prepared.

    Not to be changed: `small` is a copy.
    """
    return once("small", lambda folder: run_to_validate(clone_to(folder), slices))


def run_to_validate(folder: Path, slices: dict[str, list[str]]) -> None:
    write_incoming(folder / "incoming", slices)
    tables = "".join(
        f"    {table}:\n      source:\n        _target_: kiban.sources.Files\n"
        f"        options: {{path: 'incoming/{path}'}}\n        missing: [NA]\n"
        for table, path in INCOMING.items()
    )
    dataset = folder / "conf/dataset/flights.yaml"
    dataset.write_text(dataset.read_text().partition("  tables:\n")[0] + f"  tables:\n{tables}")
    for of_the_year in ("data/flights.batches.yaml", "dvc.lock"):
        (folder / of_the_year).unlink()
    run(folder, "kiban", "compose", *SLICE)
    run(folder, "kiban", "ingest", "--new")
    run(folder, "dvc", "repro", "validate_prepared")
    commit(folder, "the slice")


@pytest.fixture(scope="module")
def small(validated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the validated clone, cache and all, for the tests of a module."""
    folder = tmp_path_factory.mktemp("small") / "project"
    shutil.copytree(validated, folder, symlinks=True)
    return folder
