"""Runs that MLflow has not got yet: a folder each, named by the run's key."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from kiban.tracking.run import Run

FOLDER = Path(".kiban_outbox")
RUN = "run.json"
MODEL = "model.skops"
ARTIFACTS = "artifacts"


def put(root: Path, run: Run, artifacts: Mapping[str, Path], model: Path | None = None) -> None:
    """Keep a run, files and folders by the name that they will have, and its model; whole or not at all.

    A run that waits already under the same key is left as it is. Raises OSError if there is no room, or no right.
    """
    entry = root / FOLDER / run.key
    if entry.exists():
        return
    beside = entry.with_name(run.key + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / ARTIFACTS).mkdir(parents=True)
    try:
        for name, path in artifacts.items():
            target = beside / ARTIFACTS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
        if model:
            shutil.copyfile(model, beside / MODEL)
        (beside / RUN).write_text(run.model_dump_json(indent=1), encoding="utf-8")
        beside.rename(entry)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        if not entry.exists():  # another process may have put the same run
            raise


def waiting(root: Path) -> list[tuple[Path, Run]]:
    """The folders and runs that wait, the newest first; a folder that cannot be read as a run is not among them."""
    found = []
    for file in (root / FOLDER).glob(f"*/{RUN}"):
        if file.parent.suffix == ".part":
            continue
        try:
            found.append((file.parent, Run.model_validate_json(file.read_bytes())))
        except (OSError, ValidationError):
            continue
    return sorted(found, key=lambda each: (-each[1].at, each[1].key))


def remove(entry: Path) -> None:
    """Forget a run that was delivered."""
    shutil.rmtree(entry, ignore_errors=True)
