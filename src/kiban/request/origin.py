"""Whether a model is one that this repository made."""

import subprocess
from pathlib import Path

from kiban.core.errors import KibanError
from kiban.core.git import commits_with, git
from kiban.core.paths import EVALUATION

LINE = '"model_id": "{}"'
"""The line of evaluation.json that names a model."""


def check(root: Path, model_id: str, advice: str) -> None:
    """Raise KibanError, which ends with `advice`, unless evaluation.json names the model: now, or in a commit.

    A store of data is not bound to git: without this, whoever can write to it could lay another model in the place of
    ours. Where there is no git, as in a container, the folder is trusted as the image is.
    """
    report = root / EVALUATION
    line = LINE.format(model_id)
    if report.exists() and line in report.read_text(encoding="utf-8"):
        return
    try:
        if not git(root, "ls-files", "--", "dvc.yaml"):  # a folder within another repository
            return
        if commits_with(root, line, EVALUATION):
            return
    except FileNotFoundError:  # there is no git
        return
    except OSError as error:
        raise KibanError(f"git cannot be run in {root}: {error.strerror}; {advice}") from None
    except subprocess.CalledProcessError as error:
        if "not a git repository" in error.stderr:
            return
        raise KibanError(f"git does not read {root}: {' '.join(error.stderr.split())}; {advice}") from None
    raise KibanError(
        f"model {model_id[:12]} is named by no {EVALUATION} here or in the history of this repository, so that it may "
        f"be anybody's: run `dvc repro` to the end, `git fetch --all` for what others made, or {advice}"
    )
