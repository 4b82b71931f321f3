"""The pipeline's process group is killed at random moments; the next run ends as if it had not been."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from clones import environment, run, with_installed
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from slice import ROOT
from voluptuous import Invalid

from kiban.core import files, paths
from kiban.ingest import ledger

COMMAND = ["dvc", "repro", "--force", "validate_prepared"]


def is_whole(lock: Path) -> bool:
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(lock.read_text()))
    except (yaml.YAMLError, Invalid):
        return False
    return True


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_no_batch_is_lost_to_a_kill(small: Path, kills: int) -> None:
    lock = (small / "dvc.lock").read_bytes()
    recorded = ledger.read(small / "data/flights.batches.yaml")
    raw = {
        small / paths.raw_file("flights", table, batch): entry.sha256
        for table, entries in recorded.items()
        for batch, entry in entries.items()
    }
    moments = random.Random(0)
    started = time.monotonic()
    run(small, *COMMAND)
    undisturbed = time.monotonic() - started
    killed = 0
    for number in range(kills):
        if number % 4 == 0:  # what was computed before is forgotten, so that there is more to be killed in
            shutil.rmtree(small / ".kiban_cache", ignore_errors=True)
        (small / "data/prepared/flights/2013-02.parquet").unlink(missing_ok=True)
        moments.choice(sorted(raw)).unlink(missing_ok=True)
        process = subprocess.Popen(
            COMMAND, cwd=small, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 0.95) * undisturbed)
        os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if not is_whole(small / "dvc.lock"):  # DVC itself was killed as it wrote it: docs/data.md has it
            run(small, "git", "checkout", "-q", "dvc.lock")
        if (rwlock := small / ".dvc/tmp/rwlock").exists() and not rwlock.stat().st_size:
            rwlock.unlink()  # or its list of locks: docs/data.md has that too, and `make repro` removes it
        present = [path for path in raw if path.exists()]
        assert all(files.sha256(path) == raw[path] for path in present)  # whole, or not there
    assert killed >= kills * 3 // 4  # the others had ended
    run(small, "dvc", "repro", "validate_prepared")
    assert (small / "dvc.lock").read_bytes() == lock
    assert run(small, "git", "status", "--porcelain") == ""
    assert all(files.sha256(path) == digest for path, digest in raw.items())


def test_make_repro_goes_on_where_a_kill_left_no_list_of_locks(tmp_path: Path) -> None:
    """In a pipeline of one stage that does nothing."""
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        run(tmp_path, *command)
    (tmp_path / "dvc.yaml").write_text("stages: {nothing: {cmd: 'true'}}\n")
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with_installed(tmp_path)
    rwlock = tmp_path / ".dvc/tmp/rwlock"
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.touch()
    os.utime(rwlock, (0, 0))
    assert "RWLock-file" in run(tmp_path, "dvc", "repro", status=255)
    run(tmp_path, "make", "repro")
