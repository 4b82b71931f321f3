"""What `make deliver` copies of what a pull request's code has made, beside the right to push."""

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What a run has made."""
    folder = tmp_path / "results"
    (folder / "reports/plots").mkdir(parents=True)
    for name in ("dvc.lock", "params.yaml", "reports/metrics.json", "reports/plots/roc.csv", "reports/.gitignore"):
        (folder / name).write_text(name)
    (tmp_path / "clone/.git").mkdir(parents=True)
    return folder


def test_only_what_a_run_makes_is_copied(deliver: ModuleType, results: Path, tmp_path: Path) -> None:
    (results / ".git").mkdir()
    (results / ".git/config").write_text("[core]\n    fsmonitor = touch /tmp/run\n")
    (results / "Makefile").write_text("all:\n")
    deliver.copy(results, tmp_path / "clone")
    copied = {path.relative_to(tmp_path / "clone").as_posix() for path in (tmp_path / "clone").rglob("*.*")}
    assert copied == {
        ".git",
        "dvc.lock",
        "params.yaml",
        "reports/metrics.json",
        "reports/plots/roc.csv",
        "reports/.gitignore",
    }
    assert not list((tmp_path / "clone/.git").iterdir())


def test_ledgers_are_copied_too(deliver: ModuleType, results: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/flights.batches.yaml").write_text("secret")
    (results / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SystemExit, match="data is a link, which is not delivered"):
        deliver.copy(results, tmp_path / "clone")
    (results / "data").unlink()
    (results / "data").mkdir()
    for name in ("flights.batches.yaml", "raw.parquet"):
        (results / "data" / name).write_text(name)
    deliver.copy(results, tmp_path / "clone")
    assert [path.name for path in (tmp_path / "clone/data").iterdir()] == ["flights.batches.yaml"]


def test_what_leads_elsewhere_is_refused(deliver: ModuleType, results: Path, tmp_path: Path) -> None:
    for place, target in (("results/reports/link.json", "/etc/hostname"), ("clone/reports", ".git")):
        link = tmp_path / place
        link.symlink_to(target)
        with pytest.raises(SystemExit, match="is a link, which is not delivered"):
            deliver.copy(results, tmp_path / "clone")
        link.unlink()
    (results / "reports/.git").mkdir()
    with pytest.raises(SystemExit, match=r"reports/\.git is a file of git's own"):
        deliver.copy(results, tmp_path / "clone")
    (results / "reports/.git").rmdir()
    (results / "params.yaml").unlink()
    with pytest.raises(SystemExit, match=r"params\.yaml is missing"):
        deliver.copy(results, tmp_path / "clone")
    assert not list((tmp_path / "clone/.git").iterdir())
