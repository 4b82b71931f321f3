"""Clones of the project as it lies in the working tree, and the real commands in them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

SHAPING = ("PYTHONPATH", "PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "MLFLOW_TRACKING_URI", "DVC_ROOT")


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment with the project's commands first on PATH, and nothing set that shapes a result."""
    kept = {name: value for name, value in os.environ.items() if name not in SHAPING}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    who = {f"GIT_{role}_{what}": "tests@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, "PATH": path, **who, **extra}


def run(folder: Path, *command: str, status: int = 0, **extra: str) -> str:
    """The output, both streams, of a command that must end with `status`."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**extra), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def clone_to(folder: Path) -> Path:
    """Every file that git tracks, or would, committed to a new repository without DVC's cache."""
    files = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (ROOT / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file)
    run(folder, "git", "init", "-q")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", "the project")
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_to(tmp_path_factory.mktemp("a folder of another name"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            return port

    return find
