"""Each check of the doctor finds what it is for, and passes where that is mended."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import run
from slice import ROOT

from kiban.cli.doctor import doctor as command
from kiban.maintain import doctor


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone on which nothing is wrong."""
    folder = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(ROOT), str(folder))
    (tmp_path / "cache").mkdir(mode=0o700)
    run(folder, "dvc", "config", "--local", "core.site_cache_dir", str(tmp_path / "cache/dvc"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    return folder


def problems(folder: Path) -> list[str]:
    return [problem for _, problem, is_note in doctor.examine(folder) if problem and not is_note]


def test_another_processor_is_a_note_and_no_failure(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert problems(clone) == []
    command.main([], standalone_mode=False)
    assert "note  models have the bytes of CI: this is Linux on arm64, where" in capsys.readouterr().out


def test_nothing_is_wrong_with_a_clone_that_was_set_up(clone: Path) -> None:
    assert problems(clone) == []
    assert "ok    git knows this folder" in run(clone, "kiban", "doctor")


def test_what_has_grown_large_is_a_note(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "LARGE", 1000)
    (clone / "mlruns").mkdir(exist_ok=True)
    (clone / "mlruns/file").write_bytes(bytes(2000))
    assert problems(clone) == []
    command.main([], standalone_mode=False)
    assert "most of it in mlruns: `kiban clean` says what may go" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ('"overdue": "2999-01-01T00:00:00Z"', []),
        ('"overdue": "2026-01-03T00:00:00Z"', ["started at 2026-01-01 06:00: see whether its scheduler still runs"]),
        ('"outcome": "failed", "problems": ["origin is away"]', ["the last one failed: origin is away"]),
    ],
)
def test_a_cycle_that_was_missed_or_failed(clone: Path, last: str, problem: list[str]) -> None:
    (clone / "release").mkdir()
    (clone / "release/last-cycle.json").write_text(f'{{"started": "2026-01-01T06:00:00Z", {last}}}')
    assert [each.removeprefix("the last cycle was ") for each in problems(clone)] == problem


def test_a_params_yaml_that_is_not_conf_is_told_by_its_keys(clone: Path) -> None:
    params = clone / "params.yaml"
    params.write_text(params.read_text().replace("max_iter: 400", "max_iter: 300"))
    (problem,) = problems(clone)
    assert problem.startswith("it differs in model.max_iter: `kiban compose` takes conf/")
    output = run(clone, "kiban", "doctor", status=1)
    assert "FAIL  params.yaml is composed from conf/: it differs in model.max_iter" in output
    assert re.search(r"error: 1 of \d+ checks failed", output)
    params.unlink()
    assert problems(clone) == ["params.yaml is missing: `kiban compose`"]


def test_an_empty_list_of_locks_is_found(clone: Path) -> None:
    (clone / ".dvc/tmp").mkdir(exist_ok=True)
    (clone / ".dvc/tmp/rwlock").touch()
    (problem,) = problems(clone)
    assert "a kill has left .dvc/tmp/rwlock unreadable" in problem


def test_a_cache_that_others_can_write_to_is_found(clone: Path, tmp_path: Path) -> None:
    run(clone, "dvc", "config", "--local", "--unset", "core.site_cache_dir")
    assert problems(clone)[0].startswith("it is /var/tmp/dvc, where any account may put a pickle")
    run(clone, "dvc", "config", "--local", "core.site_cache_dir", "cache")
    assert problems(clone)[0].startswith("cache follows the working directory")
    run(clone, "dvc", "config", "--local", "core.site_cache_dir", str(tmp_path / "open/dvc"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    assert problems(clone) == []  # within a folder that nobody else enters
    outer = "/" + str(tmp_path).split("/")[1]
    run(clone, "dvc", "config", "--local", "core.site_cache_dir", f"{outer}/dvc")
    assert problems(clone) == [f"other accounts may enter {outer}: `chmod 700 {outer}`"]


def test_make_sets_a_cache_that_a_bare_dvc_uses(clone: Path, tmp_path: Path) -> None:
    """The recipe itself, without what it installs."""
    run(clone, "dvc", "config", "--local", "--unset", "core.site_cache_dir")
    recipe = run(clone, "make", "-n", ".venv/installed", f"XDG_CACHE_HOME={tmp_path}/home")
    command = recipe[recipe.index("dvc config --local") : recipe.index("touch")]
    run(clone, "sh", "-c", command)
    assert problems(clone) == []
    run(clone / "src", "dvc", "status", "../dvc.yaml:config")
    assert list((tmp_path / "home/kiban/dvc").iterdir())


def test_a_remote_that_is_not_verified_is_named(clone: Path) -> None:
    run(clone, "dvc", "remote", "add", "store", "s3://bucket/path")
    assert problems(clone) == [
        "what comes from store is not compared with its hash: `dvc remote modify store verify true`"
    ]
    run(clone, "dvc", "remote", "modify", "store", "verify", "true")
    assert problems(clone) == []


def test_what_is_no_repository_is_said(clone: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    run(clone, "sh", "-c", f"git archive HEAD | tar -x -C {archive}")
    assert "take the project by `git clone`, not as an archive" in problems(archive)[0]
    if os.getuid() == 0:
        os.chown(clone / ".git", 65534, 65534)
        os.chown(clone, 65534, 65534)
        assert "git config --global --add safe.directory" in problems(clone)[0]
