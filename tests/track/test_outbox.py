import shutil
from pathlib import Path

import pytest

from kiban.core import paths
from kiban.track import outbox
from kiban.track.run import Run


def a_run(key: str, at: int = 1) -> Run:
    return Run(key=key, at=at, experiment="e", name=key, parameters={"a": "1"}, metrics=[], tags={})


def test_what_was_put_waits_the_newest_first_until_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report/a.csv").write_text("a")
    for at, key in enumerate(("old", "new")):
        outbox.put(tmp_path, a_run(key, at), {"reports/plots": tmp_path / "report"})
    (new, run), (old, _) = outbox.waiting(tmp_path)
    assert run == a_run("new", 1)
    assert (new / "artifacts/reports/plots/a.csv").read_text() == "a"
    outbox.remove(new)
    assert [entry for entry, _ in outbox.waiting(tmp_path)] == [old]


def test_the_same_run_waits_once(tmp_path: Path) -> None:
    outbox.put(tmp_path, a_run("k", 1), {})
    outbox.put(tmp_path, a_run("k", 2), {})
    assert [run.at for _, run in outbox.waiting(tmp_path)] == [1]


def test_a_run_that_cannot_be_kept_whole_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        outbox.put(tmp_path, a_run("k"), {"a": tmp_path / "nosuchfile"})
    assert outbox.waiting(tmp_path) == []
    assert list((tmp_path / paths.OUTBOX).iterdir()) == []


def test_what_was_cut_off_or_is_no_run_does_not_count(tmp_path: Path) -> None:
    outbox.put(tmp_path, a_run("k"), {})
    folder = tmp_path / paths.OUTBOX
    (folder / "k").rename(folder / "k.part")
    (folder / "other").mkdir()
    (folder / "other/run.json").write_text("{")
    assert outbox.waiting(tmp_path) == []
    assert outbox.unreadable(tmp_path) == [folder / "other"]
    outbox.put(tmp_path, a_run("k"), {})
    assert len(outbox.waiting(tmp_path)) == 1


def test_two_processes_that_put_the_same_run_leave_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes while the first is copying."""
    for name in "abc":
        (tmp_path / name).write_text(name)
    artifacts = {name: tmp_path / name for name in "abc"}
    copyfile = shutil.copyfile

    def interrupted(source: Path, target: Path) -> None:
        if source.name == "b":
            monkeypatch.setattr(shutil, "copyfile", copyfile)
            outbox.put(tmp_path, a_run("k"), artifacts)
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    outbox.put(tmp_path, a_run("k"), artifacts)
    ((entry, _),) = outbox.waiting(tmp_path)
    assert sorted(path.name for path in (entry / "artifacts").iterdir()) == ["a", "b", "c"]
    assert [path.name for path in (tmp_path / paths.OUTBOX).iterdir()] == ["k"]
