"""The remote: real S3 servers, killed and resumed."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clones import commit, environment, run
from servers import KEY, SECRET, Store, free_port_between, wait_for
from slice import ROOT

STAGES = ("config", "ingest", "validate_raw", "prepare", "validate_prepared")


@pytest.fixture
def project(validated: Path, tmp_path: Path) -> Path:
    """A copy of the validated clone, cache and all, with the one command that adds a remote."""
    folder = tmp_path / "project"
    shutil.copytree(validated, folder, symlinks=True)
    run(folder, "dvc", "remote", "add", "-d", "store", "s3://dvc/kiban")
    commit(folder, "a remote")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The data files by path."""
    files = [path for name in ("data/raw", "data/prepared") for path in (folder / name).rglob("*.parquet")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def forget(folder: Path) -> None:
    """Remove DVC's cache and all data."""
    shutil.rmtree(folder / ".dvc/cache")
    for name in ("data/raw/flights", "data/prepared/flights", "reports/validation"):
        shutil.rmtree(folder / name)


def push_and_pull(project: Path, **extra: str) -> None:
    before = contents(project)
    assert len(before) == 10
    output = run(project, "kiban", "push", **extra)
    assert "data/raw/flights (7 files)" in output
    assert "push: 0 files sent" in run(project, "kiban", "push", **extra)
    forget(project)
    run(project, "dvc", "pull", "validate_prepared", "--with-deps", **extra)
    assert contents(project) == before


def test_what_was_pushed_comes_back_and_a_second_clone_runs_nothing(
    project: Path, store: Store, tmp_path: Path
) -> None:
    push_and_pull(project, **store.environment)
    second = tmp_path / "second"
    run(tmp_path, "git", "clone", "-q", str(project), str(second))
    run(second, "dvc", "pull", "validate_prepared", "--with-deps", **store.environment)
    assert contents(second) == contents(project)
    output = run(second, "dvc", "repro", "validate_prepared")
    assert not [stage for stage in STAGES if f"Running stage '{stage}'" in output]
    assert run(second, "git", "status", "--porcelain") == ""


@pytest.mark.long
def test_seaweedfs_is_started_by_make_and_takes_it(project: Path, tmp_path: Path) -> None:
    port = free_port_between(28000, 32000, room=4)
    keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    refused = subprocess.run(
        ["make", "-C", str(ROOT), "s3"],
        env={name: value for name, value in environment().items() if name not in keys},
        capture_output=True,
        text=True,
    )
    assert "error: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in refused.stderr
    command = ["make", "-C", str(ROOT), "s3", f"S3_PORT={port}", f"S3_FOLDER={tmp_path / 'seaweed'}"]
    server = subprocess.Popen(
        command, env=environment(**keys), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(port, 60)
        time.sleep(2)  # it makes the bucket after it listens
        push_and_pull(project, **keys, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def stored(store: Store) -> list[Path]:
    """DVC's objects in the store: their names are their MD5."""
    found = (store.folder / "dvc/kiban/files/md5").rglob("*")
    return [path for path in found if path.is_file() and "rclone_temp" not in path.name]


@pytest.fixture
def heavy(project: Path) -> dict[str, bytes]:
    """400 files more to push, and their contents."""
    random_bytes = random.Random(0)
    folder = project / "data/extra"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.bin").write_bytes(random_bytes.randbytes(100_000))
    run(project, "dvc", "add", "-q", "data/extra")
    commit(project, "more")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.long
@pytest.mark.parametrize("killed", ["server", "client", "both"])
def test_killed_in_mid_push_nothing_is_lost(project: Path, store: Store, heavy: dict[str, bytes], killed: str) -> None:
    client = subprocess.Popen(
        ["kiban", "push", "--timeout", "25"],
        cwd=project,
        env=environment(**store.environment),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    ends = time.monotonic() + 60
    while len(stored(store)) < 30 and time.monotonic() < ends:
        time.sleep(0.01)
    if killed != "client":
        store.kill()
    if killed != "server":
        os.killpg(client.pid, signal.SIGKILL)
    _, error = client.communicate(timeout=60)
    assert 30 <= len(stored(store)) < 400
    if killed == "server":
        assert client.returncode == 1
        assert "not confirmed: " in error
        assert "data/extra (400 files)" in error
    if killed != "client":
        store.start()
    run(project, "kiban", "push", **store.environment)
    for path in stored(store):
        assert hashlib.md5(path.read_bytes()).hexdigest() == f"{path.parent.name}{path.name}".removesuffix(".dir")  # noqa: S324
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "data/extra")
    run(project, "dvc", "pull", "data/extra.dvc", **store.environment)
    assert {path.name: path.read_bytes() for path in (project / "data/extra").iterdir()} == heavy


def test_a_wrong_key_is_said_in_time(project: Path, store: Store) -> None:
    started = time.monotonic()
    wrong = {**store.environment, "AWS_SECRET_ACCESS_KEY": "kiban-wrong-secret"}
    output = run(project, "kiban", "push", status=1, **wrong)
    assert time.monotonic() - started < 30
    assert "error: the push failed: " in output
    assert (
        "; check the credentials in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of S3"
        in output
    )
    assert "Traceback" not in output
    assert "kiban-wrong-secret" not in output


def test_a_server_that_never_answers_does_not_hang_it(project: Path, store: Store) -> None:
    store.freeze()
    started = time.monotonic()
    output = run(project, "kiban", "push", "--timeout", "12", status=1, **store.environment)
    assert time.monotonic() - started < 20
    assert "error: not finished within 12 s (--timeout allows more); not confirmed: " in output
    assert "data/prepared/flights (3 files)" in output
    assert "Traceback" not in output


def test_what_is_neither_here_nor_there_is_not_called_pushed(project: Path, store: Store) -> None:
    """`dvc push` ends with status 0 when the cache has lost a file."""
    prepared = hashlib.md5((project / "data/prepared/flights/2013-02.parquet").read_bytes()).hexdigest()  # noqa: S324
    lost = project / f".dvc/cache/files/md5/{prepared[:2]}/{prepared[2:]}"
    lost.unlink()
    output = run(project, "kiban", "push", status=1, **store.environment)
    assert "error: the store lacks data/prepared/flights" in output


def test_without_a_remote_it_says_how_to_add_one(project: Path) -> None:
    run(project, "dvc", "remote", "remove", "store")
    output = run(project, "kiban", "push", status=1)
    assert "there is no remote yet: `dvc remote add -d store s3://BUCKET/PATH` adds one" in output


@pytest.mark.long
def test_gc_removes_what_no_commit_uses_and_nothing_else(project: Path, store: Store) -> None:
    committed = contents(project)
    flights = project / "incoming/flights-2013-03.csv"
    flights.write_text(flights.read_text().replace(",1089,", ",1090,"))
    run(project, "kiban", "ingest", "--refresh", "2013-03", "--table", "flights")
    run(project, "dvc", "repro", "ingest")  # and it is never committed
    run(project, "kiban", "push", **store.environment)
    unused = hashlib.md5(contents(project)["data/raw/flights/flights/2013-03.parquet"]).hexdigest()  # noqa: S324
    kept = [project / ".dvc/cache/files/md5", store.folder / "dvc/kiban/files/md5"]
    assert all((folder / unused[:2] / unused[2:]).exists() for folder in kept)
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "checkout", "-q", "--force", "data/raw/flights")
    run(project, "kiban", "push", **store.environment)
    run(project, "dvc", "gc", "--workspace", "--all-commits", "--cloud", "--force", **store.environment)
    assert not any((folder / unused[:2] / unused[2:]).exists() for folder in kept)
    forget(project)
    run(project, "dvc", "pull", "validate_prepared", "--with-deps", **store.environment)
    assert contents(project) == committed
