"""The tags of the registry, in real repositories, beside what GTO and DVC say of them."""

import itertools
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gto.api
import pytest
from dvc.repo import Repo
from semver import Version

from kiban.operate import registry
from kiban.operate.registry import Record, Registry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "seattle_weather"  # GTO takes an underscore


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of DVC with an artifact, and three commits."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "tests@localhost")
    git("init", "-q", "-b", "main")
    Repo.init(no_scm=False).close()
    Path("params.yaml").write_text(f"dataset: {{name: {NAME}}}\n")
    Path("dvc.yaml").write_text("artifacts:\n  ${dataset.name}: {path: model.bin, type: model}\n")
    for number in range(3):
        Path("model.bin").write_text(str(number))
        git("add", "--all")
        git("commit", "-q", "-m", f"model {number}")
    return tmp_path


def git(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True, input=given)
    return done.stdout.strip()


def commit(back: int) -> str:
    return git("rev-parse", f"HEAD~{back}")


def model(back: int) -> str:
    return str(back) * 64


def mark(stage: str, back: int, kind: str = "promotion", now: datetime = NOW) -> str:
    known = registry.read(NAME)
    record = Record.model_validate({"kind": kind, "model_id": model(back)})
    return registry.write(known, known.stage_tag(stage, kind == "end of hold"), commit(back), record, now)


def assert_all_say(back: int) -> None:
    """Ours, GTO's and DVC's prod are the same commit."""
    known = registry.read(NAME)
    assert known.prod is not None
    assert known.prod.commit == commit(back)
    assert {version["commit_hexsha"] for version in gto.api.show(".", f"{NAME}#prod")} == {commit(back)}
    with Repo() as repo:
        assert repo.artifacts.get_rev(NAME, stage="prod") == commit(back)


def test_the_newest_tag_is_prod_whatever_the_clock_says(repository: Path) -> None:
    for number, back in enumerate([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], start=1):  # past #10, in one second
        assert mark("prod", back, now=NOW - timedelta(minutes=5 * (number % 2))) == f"{NAME}#prod#{number}"
        assert_all_say(back)
    times = [tag.at for tag in registry.read(NAME).tags]
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in itertools.pairwise(times))


def test_going_back_twice_goes_back_twice(repository: Path) -> None:
    for back in (2, 1, 0, 2):
        mark("prod", back)
    assert [tag.commit for tag in registry.read(NAME).served] == [commit(back) for back in (2, 1, 0, 2)]
    mark("prod", 0, "rollback")
    assert [tag.commit for tag in registry.read(NAME).served] == [commit(back) for back in (2, 1, 0)]
    mark("prod", 1, "rollback")
    assert [tag.commit for tag in registry.read(NAME).served] == [commit(back) for back in (2, 1)]
    assert_all_say(1)
    mark("prod", 0)
    assert [tag.commit for tag in registry.read(NAME).served] == [commit(back) for back in (2, 1, 0)]


def test_a_hold_lasts_until_it_is_ended(repository: Path) -> None:
    mark("prod", 0)
    assert registry.read(NAME).hold is None
    mark("hold", 0, "hold")
    mark("prod", 1)
    hold = registry.read(NAME).hold
    assert hold is not None
    assert hold.name == f"{NAME}#hold#2"
    assert mark("hold", 1, "end of hold") == f"{NAME}#hold!#4"
    assert registry.read(NAME).hold is None
    assert_all_say(1)


def test_tags_of_others_are_read_or_left_out(repository: Path) -> None:
    git("tag", f"{NAME}@v9.0.0")  # not annotated: GTO leaves it out too
    git("tag", "-a", "-m", "of another artifact", f"other-{NAME}@v1.0.0")
    git("tag", "-a", "-m", "no version", f"{NAME}@1.0")
    git("tag", "-a", "-m", "another stage", f"{NAME}#dev#1")
    git("tag", "-a", "-m", "no JSON\n\n{", f"{NAME}@v0.1.0", "HEAD~1")
    git("-c", "user.name=a\u2028b\x0c", "tag", "-a", "-m", "pasted\u2028 from\x0celsewhere\r\nand on", "latest")
    (repository / "message").write_bytes(b"caf\xe9")
    git("-c", "i18n.commitEncoding=latin-1", "tag", "-a", "-F", "message", "coffee")
    git("tag", "-a", "-m", 'by GTO "quoted"\n\nmore\n', f"{NAME}#prod", "HEAD~1")
    known = registry.read(NAME)
    assert {(tag.name, tag.version, tag.record) for tag in known.tags} == {
        (f"{NAME}@v0.1.0", Version(0, 1, 0), None),
        (f"{NAME}#prod", Version(0, 1, 0), None),
    }
    assert_all_say(1)
    assert mark("prod", 0) == f"{NAME}#prod#1"
    assert_all_say(0)


def test_in_a_folder_of_a_larger_repository_the_tags_bear_its_path(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "models/late").mkdir(parents=True)
    monkeypatch.chdir(repository / "models/late")
    assert mark("prod", 0) == f"models/late={NAME}#prod#1"
    prod = registry.read(NAME).prod
    assert prod is not None
    assert prod.commit == commit(0)
    monkeypatch.chdir(repository)
    assert registry.read(NAME).tags == ()


def test_fifteen_hundred_tags_are_read_in_a_second(repository: Path) -> None:
    head = commit(0)
    record = Record(kind="promotion", model_id=model(0), metrics={"roc_auc": 0.7}, trained_on=("2013-01",) * 24)
    lines = [
        f"tag {NAME}#prod#{number}\nfrom {head}\ntagger tests <tests@localhost> {1772000000 + number} +0000\n"
        f"data <<END\npromotion\n\n{record.model_dump_json(indent=1)}\nEND\n"
        for number in range(1, 1501)
    ]
    git("fast-import", "--quiet", given="".join(lines))
    started = time.perf_counter()
    known: Registry = registry.read(NAME)
    seconds = time.perf_counter() - started
    assert len(known.tags) == 1500
    assert known.stage_tag("prod") == f"{NAME}#prod#1501"
    assert seconds < 1
