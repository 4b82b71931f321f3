"""Clones of the project as it lies in the working tree, and the real commands in them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from slice import MONTHS, ROOT

SHARED = "KIBAN_TESTS"
"""The variable with the folder that all workers of a run of pytest share."""
SHAPING = (
    *("PYTHONPATH", "PYTHONHASHSEED", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OPENBLAS_CORETYPE"),
    *("MLFLOW_TRACKING_URI", "DVC_ROOT"),
    *("MAKELEVEL", "MAKEFLAGS", "MFLAGS"),  # with which a `make` within `make test` names its folder
)


def environment(**extra: str) -> dict[str, str]:
    """The caller's environment with the project's commands first on PATH, and nothing set that shapes a result."""
    kept = {name: value for name, value in os.environ.items() if name not in SHAPING}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    who = {f"GIT_{role}_{what}": "tests@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**kept, "PATH": path, **who, **extra}


def run(folder: Path, *command: str, status: int = 0, **extra: str) -> str:
    """The output, both streams, of a command that must end with `status`.

    It goes to a file: the end of a pipe would be waited for, which a worker of DVC's queue may hold for ever.
    """
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, cwd=folder, env=environment(**extra), stdout=output, stderr=subprocess.STDOUT)
        output.seek(0)
        text = output.read()
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{text}"
    return text


def copy_to(folder: Path, with_runs: bool = True) -> Path:
    """Every file that git tracks, or would, in `folder`, and an empty store of MLflow's runs."""
    files = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (ROOT / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file, follow_symlinks=False)
    if with_runs:
        lay_runs(folder)
    return folder


def lay_runs(folder: Path) -> None:
    """An empty store of runs in a project."""
    (folder / "mlruns").mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_runs(), folder / "mlruns")


def empty_runs() -> Path:
    """The database of an empty store of runs, which MLflow takes five seconds to make. Not to be changed."""
    shared = Path(os.environ[SHARED])
    with FileLock(shared / "mlflow.lock"):
        if not (shared / "mlflow.db").exists():
            code = "import mlflow, sys; mlflow.MlflowClient(sys.argv[1]).search_experiments()"
            run(shared, sys.executable, "-c", code, f"sqlite:///{shared}/part.db")
            (shared / "part.db").rename(shared / "mlflow.db")
    return shared / "mlflow.db"


def clone_to(folder: Path, with_runs: bool = True) -> Path:
    """What `copy_to` lays, committed to a new repository without DVC's cache."""
    run(copy_to(folder, with_runs), "git", "init", "-q")
    commit(folder, "the project")
    return folder


def with_results(folder: Path, evaluated: Path) -> Path:
    """Lay all that `evaluated` has made into a copy of the project, and write its dvc.lock, without a run."""
    for name in ("params.yaml", "data", "reports", "models"):
        if (evaluated / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(evaluated / name, folder / name)
        else:
            shutil.copy(evaluated / name, folder / name)
    (folder / "dvc.lock").unlink()
    run(folder, "dvc", "commit", "-q", "--force", "evaluate", "--with-deps")
    return folder


def with_model(folder: Path, evaluated: Path) -> Path:
    """Lay the model of `evaluated`, and what it is worth, into a clone."""
    shutil.copytree(evaluated / "models", folder / "models", dirs_exist_ok=True)
    shutil.copy(evaluated / "reports/evaluation.json", folder / "reports/evaluation.json")
    return folder


def served_with(evaluated: Path, folder: Path, **settings: object) -> Path:
    """A clone in `folder` with the model of `evaluated`, and other settings of the section serving."""
    with_model(clone_to(folder), evaluated)
    run(folder, "kiban", "compose", *(f"serving.{name}={value}" for name, value in settings.items()))
    return folder


def kept_anew(place: Path) -> Callable[[], Path]:
    """What lies at `place`, as often as it is asked for: at the same path, which its configuration may name.

    So only one is there at once, and what was before is gone.
    """
    kept = place.rename(place.with_name(f"{place.name} kept"))

    def laid() -> Path:
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(kept, place, symlinks=True))

    return laid


INCOMING = {"flights": "flights-{batch}.csv", "weather": "weather-{batch}.csv", "planes": "planes.csv"}


def write_incoming(folder: Path, slices: dict[str, list[str]]) -> None:
    """The slice as one CSV file a batch."""
    folder.mkdir(exist_ok=True)
    for table, path in INCOMING.items():
        header, *lines = slices[table]
        if "{batch}" not in path:
            (folder / path).write_text("\n".join([header, *lines]) + "\n")
            continue
        month = header.split(",").index("month")
        for number in MONTHS:
            of_month = [line for line in lines if line.split(",")[month] == str(number)]
            target = folder / path.format(batch=f"2013-{number:02d}")
            target.write_text("\n".join([header, *of_month]) + "\n")


def with_installed(folder: Path) -> None:
    """Let `make` take what is installed here, instead of an environment of the folder's own."""
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv/installed").touch()


def commit(folder: Path, message: str) -> str:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "-q", "-m", message)
    return run(folder, "git", "rev-parse", "HEAD").strip()
