"""A model that no evaluation names is nobody's."""

import errno
import json
import subprocess
from pathlib import Path

import pytest
from clones import commit, run

from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION
from kiban.request import origin

OURS, EARLIER, FOREIGN = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Its evaluation names OURS, that of a tag on another branch EARLIER."""
    run(tmp_path, "git", "init", "-q", "-b", "main")
    (tmp_path / EVALUATION).parent.mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    for model_id in (EARLIER, OURS):
        (tmp_path / EVALUATION).write_text(json.dumps({"model_id": model_id, "test": {}}, indent=1))
        commit(tmp_path, model_id)
    run(tmp_path, "git", "tag", "flights@v0.1.0", "HEAD~1")
    return tmp_path


def test_models_of_now_and_of_history_are_ours(repository: Path) -> None:
    origin.check(repository, OURS, "")
    origin.check(repository, EARLIER, "")


def test_another_model_is_refused_with_the_way_out(repository: Path) -> None:
    with pytest.raises(KibanError, match=r"^model cccccccccccc is named by no reports/evaluation\.json .* give --any"):
        origin.check(repository, FOREIGN, "give --any-model")
    with pytest.raises(KibanError, match="is named by no"):
        origin.check(repository, OURS[:-1], "")


def test_a_project_within_a_larger_repository_is_checked(repository: Path) -> None:
    inner = repository / "team"
    (inner / EVALUATION).parent.mkdir(parents=True)
    (inner / "dvc.yaml").write_text("stages: {}")
    (inner / EVALUATION).write_text(json.dumps({"model_id": "d" * 64}, indent=1))
    commit(repository, "a project in a folder")
    (inner / EVALUATION).unlink()
    origin.check(inner, "d" * 64, "")
    with pytest.raises(KibanError, match="is named by no"):
        origin.check(inner, FOREIGN, "")


def test_a_variable_of_git_does_not_lead_elsewhere(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    run(other, "git", "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    with pytest.raises(KibanError, match="is named by no"):
        origin.check(repository, FOREIGN, "")


def test_only_a_git_that_is_not_there_is_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(subprocess, "run", refused)
    with pytest.raises(KibanError, match="git cannot be run in .*: Permission denied"):
        origin.check(repository, FOREIGN, "")


def test_without_git_the_folder_is_trusted(tmp_path: Path, repository: Path) -> None:
    inner = repository / "bento"
    inner.mkdir()
    origin.check(inner, FOREIGN, "")
    subprocess.run(["rm", "-rf", repository / ".git"], check=True)
    origin.check(repository, FOREIGN, "")


def test_a_repository_that_git_does_not_read_is_not_trusted(repository: Path) -> None:
    (repository / ".git/config").write_text("[core\n")
    with pytest.raises(KibanError, match="git does not read"):
        origin.check(repository, FOREIGN, "")
    origin.check(repository, OURS, "")
