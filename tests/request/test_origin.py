"""A model that no evaluation names is nobody's."""

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
