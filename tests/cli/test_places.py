"""Commands in a folder within the repository: they find its root, and paths are the caller's."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from slice import ROOT

from kiban.cli import commands, places


def run(*arguments: str) -> str:
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def inner(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the repository."""
    (project / "notes/deep").mkdir(parents=True)
    monkeypatch.setattr(places, "_started", None)  # a process of its own would end with it
    monkeypatch.chdir(project / "notes/deep")
    return project / "notes/deep"


def test_the_root_is_found_and_paths_are_the_callers(inner: Path, project: Path) -> None:
    shutil.copy(project / "data/prepared/flights/2013-03.parquet", inner / "in.parquet")
    run("score", "in.parquet", "out.csv", "--any-model")
    assert (inner / "out.csv").exists()


def test_an_absolute_path_stays_and_the_default_is_the_roots(
    inner: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = project / "data/prepared/flights/2013-03.parquet"
    run("score", str(source), str(tmp_path / "out.csv"), "--any-model")
    monkeypatch.chdir(inner)
    run(
        "score",
        "../../data/prepared/flights/2013-03.parquet",
        "../out.csv",
        "--servable",
        "../../models/servable",
        "--any-model",
    )
    assert (inner.parent / "out.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


def test_the_version_is_shown() -> None:
    assert run("--version") == "kiban 0.1.0\n"


def test_a_python_without_the_packages_is_said(tmp_path: Path) -> None:
    """As where `.venv/bin/dvc repro` runs without the environment being activated."""
    command = [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); import kiban"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.endswith(
        "has not the packages of the project: run `source .venv/bin/activate`, or `make repro`\n"
    )
