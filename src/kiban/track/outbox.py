"""The outbox: runs that are not delivered to MLflow yet, each in a folder that is named by the run's key."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from kiban.core.paths import OUTBOX
from kiban.track.run import Run

RUN = "run.json"
MODEL = "model.skops"
ARTIFACTS = "artifacts"
PART = ".part"


def put(root: Path, run: Run, artifacts: Mapping[str, Path], model: Path | None = None) -> None:
    """Put a run with its artifacts (files and folders, by their name in MLflow) and its model into the outbox.

    The entry is written whole or not at all. An entry with the same key is left unchanged. Raises OSError if the entry
    cannot be written.
    """
    entry = root / OUTBOX / run.key
    if (entry / RUN).exists():
        return
    entry.parent.mkdir(exist_ok=True)
    # A folder of this process alone, because another process may put the same run.
    beside = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f"{run.key}-", suffix=PART))
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
        if not (entry / RUN).exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def waiting(root: Path) -> list[tuple[Path, Run]]:
    """The folder and the run of each entry, the newest first."""
    runs = [(entry, run) for entry in _entries(root) if (run := _read(entry)) is not None]
    return sorted(runs, key=lambda pair: (-pair[1].at, pair[1].key))


def unreadable(root: Path) -> list[Path]:
    """The folders that cannot be delivered, because they hold no run that this version can read."""
    return [entry for entry in _entries(root) if _read(entry) is None]


def _entries(root: Path) -> list[Path]:
    folders = (path for path in (root / OUTBOX).glob("*") if path.is_dir())
    return sorted(path for path in folders if path.suffix != PART)


def _read(entry: Path) -> Run | None:
    try:
        return Run.model_validate_json((entry / RUN).read_bytes())
    except (OSError, ValidationError):
        return None


def remove(entry: Path) -> None:
    """Remove the entry of a run that was delivered."""
    shutil.rmtree(entry, ignore_errors=True)
