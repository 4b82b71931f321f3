"""Stages on a disk without room: one sentence, and what was there before is there as it was."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

INSIDE = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c"]
SCRIPT = """
cp -a {folder} saved
mount -t tmpfs -o size=$(($(du -sk saved | cut -f1) + 8))k tmpfs {folder}
cp -a saved/. {folder}
{before}
{python} -m {stage}
status=$?
find {folder} -type d -empty -delete
diff -r saved {folder} >&2 && exit $status
exit 99
"""


def on_a_full_disk(stage: str, folder: str, before: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a stage where `folder` is a file system with eight free kilobytes; status 99 if it left another content."""
    if subprocess.run([*INSIDE, "mkdir -p probe && mount -t tmpfs tmpfs probe"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system")
    script = SCRIPT.format(folder=folder, before=before, python=sys.executable, stage=stage)
    return subprocess.run([*INSIDE, script], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("stage", "folder", "before"),
    [
        ("kiban.train", "models", ""),
        ("kiban.evaluate", "reports", ""),
        ("kiban.prepare", "data", "rm -r .kiban_cache"),
        (
            "kiban.ingest",
            "data",
            "rm data/raw/flights/flights/2013-02.parquet saved/raw/flights/flights/2013-02.parquet",
        ),
    ],
)
def test_nothing_is_half_replaced(project: Path, stage: str, folder: str, before: str) -> None:
    fill = f"head -c 1000000000 /dev/zero > {folder}/filled 2> /dev/null; cp {folder}/filled saved/filled"
    ended = on_a_full_disk(stage, folder, f"{before}\n{fill}")
    assert ended.returncode == 1, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "error: " in line]
    assert "No space left on device" in line
    assert "Traceback" not in ended.stderr


def test_a_cache_that_cannot_be_written_is_a_warning(project: Path) -> None:
    shutil.rmtree(".kiban_cache")
    Path(".kiban_cache").mkdir()
    fill = "head -c 1000000 /dev/zero > .kiban_cache/filled 2> /dev/null; cp .kiban_cache/filled saved/filled"
    ended = on_a_full_disk("kiban.validate.raw", ".kiban_cache", fill)
    assert "warning: a result is not kept in .kiban_cache: No space left on device" in ended.stderr
    assert ended.returncode == 0
