"""Two models in one repository: a folder each, beside each other, with one store."""

import json
import shutil
from pathlib import Path

import pytest
from clones import commit, copy_to, run, with_results
from slice import SLICE, SMALL_TREES

from kiban.track.commit import state

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def company(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with two copies of the project; the model of models/other is a dummy. Both are in one store."""
    root = tmp_path_factory.mktemp("company")
    run(root, "git", "init", "-q", "-b", "main")
    for name in ("flights", "other"):
        folder = copy_to(root / "models" / name)
        with_results(folder, evaluated)
        run(folder, "dvc", "remote", "add", "-d", "store", str(root.with_name(f"{root.name}-store")))
    run(folder, "kiban", "compose", *SLICE, "model=dummy")
    run(folder, "dvc", "repro", "evaluate")
    commit(root, "two models")
    for name in ("flights", "other"):
        run(root / "models" / name, "kiban", "push")
    return root


@pytest.fixture(scope="module")
def faster(company: Path) -> Path:
    """models/flights on the branch faster, whose model learns faster; models/other is as it was."""
    folder = company / "models/flights"
    run(folder, "git", "checkout", "-q", "-b", "faster")
    run(folder, "kiban", "compose", *SLICE, *SMALL_TREES, "model.learning_rate=0.2")
    run(folder, "dvc", "repro", "evaluate")
    commit(folder, "faster")
    run(folder, "kiban", "push")
    return folder


@pytest.fixture(scope="module")
def elsewhere(company: Path, faster: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/flights of a new clone, which has nothing of DVC's cache."""
    clone = tmp_path_factory.mktemp("elsewhere") / "clone"
    run(company, "git", "clone", "-q", str(company), str(clone))
    return clone / "models/flights"


def model_id(folder: Path) -> str:
    found: str = json.loads((folder / "reports/evaluation.json").read_text())["model_id"]
    return found


def test_a_report_from_git_and_the_store_alone(elsewhere: Path) -> None:
    text = run(elsewhere, "kiban", "report", "origin/main", "origin/faster")
    assert "| `model.learning_rate` | 0.05 | 0.2 |" in text
    assert "95 % interval" in text  # of the predictions of both, which only the store has
    assert text.count("3 batches accepted, 0 rejected") == 2
    assert run(elsewhere, "kiban", "data", "diff", "origin/main").strip().endswith("are the same")


def test_a_model_is_found_in_its_own_folder(company: Path, faster: Path) -> None:
    of_folder = {folder.name: model_id(folder) for folder in (company / "models").iterdir()}
    assert len(set(of_folder.values())) == 2
    found = json.loads(run(faster, "kiban", "lineage", of_folder["flights"], "--json"))
    assert found["commit"]["subject"] == "faster"
    assert "no commit here has a model" in run(faster, "kiban", "lineage", of_folder["other"], status=1)


def test_what_is_changed_beside_it_does_not_make_a_folder_dirty(company: Path, faster: Path) -> None:
    (company / "models/other/README.md").write_text("")
    assert state(faster)["git.dirty"] == "false"
    assert state(company / "models/other")["git.dirty"] == "true"
    run(company, "git", "checkout", "-q", "models/other/README.md")


def test_a_lock_that_changed_beside_it_is_not_this_folders(company: Path, faster: Path) -> None:
    shutil.copy(company / "models/flights/dvc.lock", company / "models/other/dvc.lock")
    run(faster, "git", "diff", "--quiet", "--", "dvc.lock")
    run(company, "git", "checkout", "-q", "models/other/dvc.lock")


def test_experiments_are_those_of_the_folder(company: Path, faster: Path) -> None:
    settings = [word for override in (*SLICE, *SMALL_TREES, "model.learning_rate=0.3") for word in ("-S", override)]
    run(faster, "dvc", "exp", "run", "--temp", "-n", "mine", *settings, "evaluate")
    assert "mine" in run(faster, "kiban", "experiments")
    assert "mine" not in run(company / "models/other", "kiban", "experiments")


def test_a_merge_makes_the_results_of_each_folder_in_its_turn(company: Path) -> None:
    """Both branches changed the settings of both models."""
    folders = [company / "models" / name for name in ("flights", "other")]
    run(company, "git", "checkout", "-q", "main")
    for folder in folders:
        run(folder, "dvc", "checkout", "-q", "--force", "--allow-missing")
        run(folder, "kiban", "compose", "--adopt", "slice")
        run(folder, "dvc", "repro", "evaluate")
    commit(company, "what both begin with")
    changes = {
        "left": ("conf/experiment/slice.yaml", "rows: 500", "rows: 400"),
        "right": ("conf/gate/flights.yaml", "minimum_change: 0.002", "minimum_change: 0.003"),
    }
    for branch, (name, before, after) in changes.items():
        run(company, "git", "checkout", "-q", "-b", branch, "main")
        for folder in folders:
            file = folder / name
            assert before in file.read_text()
            file.write_text(file.read_text().replace(before, after))
            run(folder, "kiban", "compose")
            run(folder, "dvc", "repro", "evaluate")
        commit(company, branch)
    output = run(folders[0], "kiban", "merge", "left", status=1)
    assert "error: models/other/dvc.lock is made by a run in its own folder: run `kiban merge` there" in output
    assert "merge: committed as" in run(folders[1], "kiban", "merge")
    assert run(company, "git", "status", "--porcelain", "--untracked-files=no") == ""
    for folder in folders:
        assert run(folder, "dvc", "status", "--quiet") == ""
        text = (folder / "params.yaml").read_text()
        assert "minimum_change: 0.003" in text
        assert "rows: 400" in text
    run(company, "git", "checkout", "-q", "main")
