"""The workflow that retrains on a schedule: the steps of its jobs, in their order."""

import os
import shutil
from pathlib import Path

import pytest
from clones import environment, run, with_installed
from seattle import check_same_bytes, lay

pytestmark = pytest.mark.platform


def test_the_scheduled_workflow_proposes_what_one_machine_gives(
    moved: Path, feed: Path, origin: Path, tmp_path: Path
) -> None:
    """The steps of .github/workflows/schedule.yaml, with a clone for each job, and a gh that notes what it is asked."""
    lay(feed, "2012-07")
    base, head, trainer = tmp_path / "base", tmp_path / "base/.kiban_head", tmp_path / "trainer"
    for folder in (trainer, base, head):
        run(tmp_path, "git", "clone", "-q", str(origin), str(folder))
    with_installed(trainer)
    run(trainer, "make", "retrain")
    run(trainer, "make", "report", BASE="HEAD")
    for name in ("results", "report"):
        shutil.copytree(trainer / name, base / name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    (tmp_path / "bin/gh").chmod(0o755)
    path = os.pathsep.join([str(tmp_path / "bin"), environment()["PATH"]])
    job = {"HEAD": str(head), "BRANCH": "kiban-run-1", "COMMIT": "", "GITHUB_REPOSITORY": "team/kiban", "PATH": path}
    run(base, "make", "propose", **job)
    assert not (tmp_path / "asked").exists()  # nothing is delivered
    run(base, "make", "deliver", **job)
    run(base, "make", "propose", **job)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:6] == ["pr", "create", "--repo", "team/kiban", "--head", "kiban-run-1"]
    assert asked[7].startswith("Model: ")
    check_same_bytes(moved, origin, "kiban-run-1")
