"""A second developer, and CI: a new clone takes from the store what others have made, and says what was not pushed."""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from clones import commit, copy_to, run, with_installed, with_results
from servers import Store

RAW = Path("data/raw/flights")


@pytest.fixture(scope="module")
def finished(evaluated: Path, once: Callable[..., Path]) -> Path:
    """A repository of the slice whose every stage has run. Not to be changed: `ours` is a copy."""

    def fill(folder: Path) -> None:
        run(copy_to(folder), "git", "init", "-q", "-b", "main")
        with_results(folder, evaluated)
        run(folder, "dvc", "remote", "add", "-d", "store", "s3://dvc/kiban")
        run(folder, "dvc", "repro")
        commit(folder, "the project")

    return once("finished", fill)


@pytest.fixture
def ours(finished: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    shutil.copytree(finished, folder, symlinks=True)
    with_installed(folder)
    return folder


@pytest.fixture
def pushed(ours: Path, store: Store) -> Path:
    run(ours, "kiban", "push", **store.environment)
    return ours


def cloned(repository: Path, name: str = "theirs") -> Path:
    folder = repository.with_name(name)
    run(repository, "git", "clone", "-q", str(repository), str(folder))
    with_installed(folder)
    return folder


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def object_of(store: Store, file: Path) -> Path:
    digest = hashlib.md5(file.read_bytes()).hexdigest()  # noqa: S324
    return store.folder / f"dvc/kiban/files/md5/{digest[:2]}/{digest[2:]}"


def test_in_a_new_clone_nothing_runs_and_no_source_is_needed(pushed: Path, store: Store) -> None:
    theirs = cloned(pushed)  # the slice is not the whole year that its source has: it could not be taken again
    output = run(theirs, "make", "repro", **store.environment)
    assert stages_run(output) == []
    assert "pull: " in output
    assert run(theirs, "git", "status", "--porcelain") == ""
    assert "pull" not in run(theirs, "kiban", "pull")  # and nothing is asked when all is here


def test_a_snapshot_that_is_gone_comes_from_the_store(pushed: Path, store: Store) -> None:
    theirs = cloned(pushed)
    run(theirs, "dvc", "pull", "ingest", **store.environment)
    shutil.rmtree(theirs / ".dvc/cache")
    (theirs / RAW / "flights/2013-02.parquet").unlink()
    run(theirs, "kiban", "pull", **store.environment)  # the folder is there: it is left as it is
    assert not (theirs / RAW / "flights/2013-02.parquet").exists()
    output = run(theirs, "dvc", "repro", "ingest", **store.environment)
    assert "ingest: 7 batches, 0 taken from their source, 1 from DVC's cache or its store" in output
    assert (theirs / RAW / "flights/2013-02.parquet").read_bytes() == (
        pushed / RAW / "flights/2013-02.parquet"
    ).read_bytes()


@pytest.mark.long
def test_what_the_store_has_in_its_place_is_not_taken(pushed: Path, store: Store) -> None:
    theirs = cloned(pushed)
    altered = object_of(store, pushed / RAW / "flights/2013-02.parquet")
    altered.write_bytes(altered.read_bytes()[:-1] + b"!")
    output = run(theirs, "dvc", "repro", "ingest", status=255, **store.environment)
    assert "the source has other rows now" in output
    assert not (theirs / RAW / "flights/2013-02.parquet").exists()


@pytest.mark.long
def test_a_batch_that_was_taken_and_not_run_is_left(pushed: Path, store: Store) -> None:
    batch = pushed / RAW / "flights/2013-09.parquet"
    shutil.copy(pushed / RAW / "flights/2013-03.parquet", batch)
    shutil.rmtree(pushed / "models/servable")
    assert "pull: models/servable" in run(pushed, "kiban", "pull", **store.environment)
    assert batch.exists()


@pytest.mark.long
def test_what_was_never_pushed_is_one_line_and_the_run_goes_on(ours: Path, store: Store) -> None:
    theirs = cloned(ours)
    output = run(theirs, "kiban", "pull", **store.environment)
    assert output.startswith("pull: not all of dvc.lock is here: the store lacks ")
    assert output.endswith("; the run makes it\n")
    assert output.count("\n") == 1


def test_without_keys_it_is_one_line(pushed: Path, store: Store) -> None:
    address = store.environment["AWS_ENDPOINT_URL"]
    theirs = cloned(pushed)
    output = run(theirs, "kiban", "pull", AWS_ENDPOINT_URL=address, AWS_EC2_METADATA_DISABLED="true")
    assert "Unable to locate credentials; check the credentials in the environment" in output
    assert output.count("\n") == 1
    output = run(theirs, "kiban", "push", "--check", AWS_ENDPOINT_URL=address, AWS_EC2_METADATA_DISABLED="true")
    assert output.startswith("not checked: whether the store has what dvc.lock names; Unable to locate credentials")


@pytest.mark.long
def test_a_store_that_never_answers_is_waited_for_and_left(pushed: Path, store: Store) -> None:
    theirs = cloned(pushed)
    store.freeze()
    started = time.monotonic()
    output = run(theirs, "kiban", "pull", "--patience", "5", **store.environment)
    assert "the store has made no progress for 5 s; the run makes it" in output
    output = run(theirs, "kiban", "push", "--check", "--timeout", "5", **store.environment)
    assert "not checked: whether the store has what dvc.lock names; the store has not answered within 5 s" in output
    assert time.monotonic() - started < 30


@pytest.mark.long
def test_without_a_store_nothing_is_said(ours: Path) -> None:
    run(ours, "dvc", "remote", "remove", "store")
    commit(ours, "no store")
    assert run(cloned(ours), "kiban", "pull") == ""


def test_a_lock_with_conflict_markers_is_one_line(ours: Path) -> None:
    lock = ours / "dvc.lock"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([*lines[:9], "<<<<<<< HEAD", *lines[9:]]))
    output = run(ours, "make", "repro", status=2)
    assert "error: dvc.lock: line 10 begins a conflict of two versions: choose between them there" in output
    assert "`kiban merge` then ends it" in output
    lock.write_text("stages: [")
    assert "error: dvc.lock cannot be read: restore it with `git checkout`" in run(ours, "kiban", "pull", status=1)
    assert "Traceback" not in output


@pytest.mark.long
def test_a_branch_that_was_never_pushed_fails_in_ci(ours: Path, store: Store) -> None:
    theirs = cloned(ours)
    output = run(theirs, "kiban", "push", "--check", status=1, **store.environment)
    assert output.startswith("error: not pushed: data/prepared/flights, data/raw/flights, ")
    assert output.endswith(" of dvc.lock; run `kiban push`\n")
    run(ours, "kiban", "push", **store.environment)
    assert run(theirs, "kiban", "push", "--check", **store.environment).startswith("pushed: the store has all")
    output = run(theirs, "make", "reproduce", **store.environment)
    assert stages_run(output) == []


def test_one_object_that_is_missing_is_named_and_sent_again(pushed: Path, store: Store) -> None:
    """`dvc push` says that everything is up to date: it looks at the folder's list alone."""
    object_of(store, pushed / "data/prepared/flights/2013-02.parquet").unlink()
    store.restart()
    theirs = cloned(pushed)
    output = run(theirs, "make", "reproduce", status=2, **store.environment)
    assert "error: not pushed: data/prepared/flights/2013-02.parquet of dvc.lock; run `kiban push`" in output
    report = run(theirs, "kiban", "report", "HEAD", "--stored", **store.environment)
    first = "> **not pushed: data/prepared/flights/2013-02.parquet of dvc.lock; run \\`kiban push\\`**"
    assert report.startswith(f"{first}\n\n## ")
    assert "push: 1 files sent" in run(pushed, "kiban", "push", **store.environment)
    assert run(theirs, "kiban", "push", "--check", **store.environment).startswith("pushed: ")


@pytest.mark.long
def test_the_hook_reads_the_commits_that_are_pushed(pushed: Path, store: Store, tmp_path: Path) -> None:
    bare, ran = tmp_path / "bare", tmp_path / "ran"
    run(tmp_path, "git", "init", "-q", "--bare", str(bare))
    run(pushed, "git", "remote", "add", "origin", str(bare))
    kiban = pushed / ".venv/bin/kiban"
    kiban.parent.mkdir()
    kiban.symlink_to(shutil.which("kiban") or "")
    before = pushed / ".git/hooks/pre-push"
    before.parent.mkdir(exist_ok=True)
    script = pushed / "scripts/pre-push"  # as those do who keep their hooks in git
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\ncat > {ran}\n")
    script.chmod(0o755)
    before.symlink_to("../../scripts/pre-push")
    for _ in range(2):
        run(pushed, "make", "hooks")
    run(pushed, "git", "push", "-q", "origin", "main", **store.environment)
    assert ran.read_text().startswith("refs/heads/main ")

    run(pushed, "git", "checkout", "-q", "-b", "unstored")
    (pushed / "models/servable/manifest.json").write_text("{}")
    run(pushed, "dvc", "commit", "-q", "--force", "train")
    made = commit(pushed, "a model that nobody else has")
    run(pushed, "git", "checkout", "-q", "main")
    output = run(pushed, "git", "push", "origin", "unstored", status=1, **store.environment)
    assert f"error: not pushed: models/servable of dvc.lock of {made[:7]}; check it out, then run" in output
    assert "unstored" not in run(bare, "git", "branch")
    run(pushed, "git", "push", "-q", "origin", "main:again", **store.environment)


@pytest.mark.long
def test_ci_trains_a_branch_and_delivers_one_commit_unless_it_has_moved(
    pushed: Path, store: Store, tmp_path: Path
) -> None:
    """The steps of the workflow train, with a clone for each job."""
    run(tmp_path, "git", "clone", "-q", "--bare", str(pushed), "origin.git")
    run(pushed, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    run(pushed, "git", "checkout", "-q", "-b", "faster")
    settings = yaml.safe_load((pushed / "params.yaml").read_text())
    overlay = pushed / "conf/experiment/slice.yaml"
    run(pushed, "kiban", "compose", "--adopt", "slice")
    overlay.write_text(overlay.read_text().replace("max_iter: 20", "max_iter: 25"))
    run(pushed, "kiban", "compose")
    run(pushed, "git", "checkout", "-q", "dvc.lock", "reports")
    labelled = commit(pushed, "not run here")
    run(pushed, "git", "push", "-q", "origin", "faster", "main")
    assert settings["model"]["max_iter"] == 20

    base, head, trainer = tmp_path / "base", tmp_path / "base/.kiban_head", tmp_path / "trainer"
    for folder, branch in ((trainer, "faster"), (base, "main"), (head, "faster")):
        run(tmp_path, "git", "clone", "-q", "-b", branch, str(tmp_path / "origin.git"), str(folder))
    with_installed(trainer)
    run(trainer, "make", "train", **store.environment)
    shutil.copytree(trainer / "results", base / "results")
    job = {"HEAD": str(head), "BRANCH": "faster", "COMMIT": labelled}
    run(base, "make", "deliver", **job)
    theirs = cloned(pushed)
    run(theirs, "git", "pull", "-q", str(tmp_path / "origin.git"), "faster")
    assert run(theirs, "git", "diff", "--name-only", labelled).split() == sorted(
        {*run(theirs, "git", "diff", "--name-only", labelled, "--", "dvc.lock", "params.yaml", "reports").split()}
    )
    output = run(theirs, "make", "reproduce", **store.environment)
    assert output.startswith("pushed: ")
    assert stages_run(output) == []
    output = run(base, "make", "deliver", status=2, **job)
    assert f"error: faster is not at {labelled} any more: label it again" in output
