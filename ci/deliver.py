"""Copies what a run has made into a clone, to be committed there: `make deliver` does so, with the right to push.

What was made comes from a job that ran the code of a pull request. So nothing but regular files at their own places is
copied, no link is followed on either side, and no file of git's own.

    python3 ci/deliver.py RESULTS CLONE
"""

import shutil
import sys
from pathlib import Path

MADE = ("dvc.lock", "params.yaml", "reports")
LEDGERS = "data/*.batches.yaml"
"""What a scheduled run makes too: it takes new batches."""


def copy(results: Path, clone: Path) -> None:
    """Copy dvc.lock, params.yaml, the files of reports/, and ledgers. Raises SystemExit if one is no regular file."""
    paths = [path for name in MADE for path in [results / name, *sorted((results / name).rglob("*"))]]
    folder = results / Path(LEDGERS).parent
    paths += [folder, *sorted(results.glob(LEDGERS))] if folder.is_symlink() or folder.exists() else []
    for path in paths:
        _check(path.relative_to(results), results, clone)
    for path in paths:
        if path.is_file():
            target = clone / path.relative_to(results)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _check(place: Path, results: Path, clone: Path) -> None:
    path, targets = results / place, [clone / place, *(clone / parent for parent in place.parents if parent != Path())]
    if path.is_symlink() or any(target.is_symlink() for target in targets):
        raise SystemExit(f"error: {place} is a link, which is not delivered")
    if any(part.startswith(".git") for part in place.parts) and place.name != ".gitignore":
        raise SystemExit(f"error: {place} is a file of git's own, which is not delivered")
    if not path.is_file() and not path.is_dir():
        raise SystemExit(f"error: {place} is missing, or no regular file")


if __name__ == "__main__":
    copy(Path(sys.argv[1]), Path(sys.argv[2]))
