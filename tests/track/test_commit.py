from pathlib import Path

from clones import run

from kiban.track.commit import state


def test_outside_a_git_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert state(tmp_path) == {}


def test_a_tree_is_dirty_if_more_differs_than_what_a_run_writes(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    run(tmp_path, "git", "config", "user.name", "Tests")
    (tmp_path / "reports").mkdir()
    for name in ("code.py", "dvc.lock", "params.yaml", "reports/metrics.json"):
        (tmp_path / name).write_text("first")
    run(tmp_path, "git", "add", "--all")
    run(tmp_path, "git", "commit", "-q", "-m", "first")
    clean = state(tmp_path)
    assert clean["git.commit"] == run(tmp_path, "git", "rev-parse", "HEAD").strip()
    assert clean["git.dirty"] == "false"
    assert clean["mlflow.user"] == "Tests"
    for name in ("dvc.lock", "params.yaml", "reports/metrics.json"):
        (tmp_path / name).write_text("second")
    assert state(tmp_path)["git.dirty"] == "false"
    (tmp_path / "code.py").write_text("second")
    assert state(tmp_path)["git.dirty"] == "true"
