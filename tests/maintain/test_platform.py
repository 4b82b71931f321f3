"""What a team's repository begins with, and which of its files are the platform's."""

import shutil
from pathlib import Path

import pytest
import yaml
from clones import commit, run
from pathspec import PathSpec
from slice import ROOT
from template import begun

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.maintain import platform

pytestmark = pytest.mark.skipif(not (ROOT / platform.TEMPLATE).exists(), reason="this is a team's repository")


def tracked() -> list[str]:
    return [name for name in run(ROOT, "git", "ls-files").splitlines() if (ROOT / name).exists()]


@pytest.mark.long
def test_params_yaml_of_a_new_repository_is_composed() -> None:
    assert (ROOT / "params.yaml.jinja").read_text() == begun(), "run `make template`"


def test_the_example_has_all_that_a_team_does_not_get() -> None:
    excluded = PathSpec.from_lines("gitignore", yaml.safe_load((ROOT / platform.TEMPLATE).read_text())["_exclude"])
    left_out = {name for name in tracked() if excluded.match_file(name) and not name.startswith((".ci/", "copier.yml"))}
    rendered = {name.removesuffix(".jinja") for name in tracked() if name.endswith(".jinja")} & set(tracked())
    example = ROOT / platform.EXAMPLE
    there = {path.relative_to(example).as_posix() for path in example.rglob("*") if path.is_file()}
    there |= {
        path.relative_to(example).as_posix()
        for folder in example.rglob("*")
        if folder.is_symlink() and folder.is_dir()
        for path in (example / folder.relative_to(example)).rglob("*")
    }
    there = {platform.ELSEWHERE.get(name, name) for name in there}
    assert {name for name in left_out if not name.startswith("tests/")} | rendered | {"README.md"} <= there


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A repository with four files of a release, the example, and files of a team's own."""
    folder = tmp_path / "team"
    for name in ("Makefile", "dvc.yaml", "src/kiban/core/files.py", "src/kiban/features/columns.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    listed = {name: files.sha256(folder / name) for name in ("Makefile", "dvc.yaml", "src/kiban/core/files.py")}
    (folder / platform.HASHES).write_text("".join(f"{digest}  {name}\n" for name, digest in listed.items()))
    (folder / "conf").mkdir()
    (folder / "conf/own.yaml").write_text("own: true\n")
    shutil.copytree(ROOT / platform.EXAMPLE, folder / platform.EXAMPLE)
    run(folder, "git", "init", "-q")
    commit(folder, "the team's")
    return folder


def test_only_a_changed_file_of_the_platform_counts(team: Path) -> None:
    assert platform.differing(team) == []
    (team / "src/kiban/features/columns.py").write_text("# the team's\n")
    (team / "conf/own.yaml").write_text("own: false\n")
    assert platform.differing(team) == []
    (team / "Makefile").write_text("")
    (team / "src/kiban/core/files.py").unlink()
    assert platform.differing(team) == ["Makefile", "src/kiban/core/files.py"]
    (team / platform.HASHES).unlink()
    assert platform.differing(team) is None


def test_the_tests_get_the_teams_files_of_the_platform_and_the_flights(team: Path, tmp_path: Path) -> None:
    (team / "Makefile").write_text("# edited\n")
    platform.assemble(team, tmp_path / "folder")
    assert (tmp_path / "folder/Makefile").read_text() == "# edited\n"
    assert not (tmp_path / "folder/conf/own.yaml").exists()
    assert not (tmp_path / "folder/src/kiban/features/columns.py").exists()  # it is not in the list
    for name in ("conf/dataset/flights.yaml", "data/flights.batches.yaml", ".dvc/config"):
        assert (tmp_path / "folder" / name).read_bytes() == (ROOT / name).read_bytes()
    locks = [yaml.safe_load((folder / "dvc.lock").read_bytes())["stages"] for folder in (ROOT, tmp_path / "folder")]
    ours, theirs = ({name: stage["outs"] for name, stage in lock.items()} for lock in locks)
    assert ours == theirs
    assert locks[0]["config"]["deps"] != locks[1]["config"]["deps"]  # it has less code
    assert run(tmp_path / "folder", "git", "status", "--porcelain") == ""
    shutil.rmtree(team / platform.EXAMPLE)
    with pytest.raises(KibanError, match="tests/example is missing"):
        platform.assemble(team, tmp_path / "other")
