"""The commit that a name means: of git, of DVC, of the registry, or of a model."""

import re
from pathlib import Path

from kiban.core.errors import KibanError
from kiban.core.git import commit_of, commits_with
from kiban.core.paths import EVALUATION
from kiban.operate import registry
from kiban.operate.registry import PROD
from kiban.review.revision import Revision


def commit_named(name: str, root: Path) -> str:
    """The commit of a version such as v1.2.0, of the stage `prod`, of whatever git and DVC know by this name, or of a
    model with this id.

    Raises KibanError if there is none, or if it may be several.
    """
    is_registered = name == PROD or re.fullmatch(r"v\d+\.\d+\.\d+.*", name)
    if is_registered and (commit := _registered(name, root)):
        return commit
    try:
        return commit_of(name, root)
    except KibanError as error:
        if re.fullmatch(r"[0-9a-f]{7,64}", name) and (commit := _of_model(name, root)):
            return commit
        raise KibanError(f"{error}, `kiban versions` versions") from None


def _registered(name: str, root: Path) -> str | None:
    known = registry.read(Revision("HEAD", root).dataset, root)
    if name == PROD:
        return known.prod.commit if known.prod else None
    return next((tag.commit for version, tag in known.versions.items() if f"v{version}" == name), None)


def _of_model(digits: str, root: Path) -> str | None:
    """The first commit whose model has an id that begins with these digits."""
    commits = commits_with(root, f'"model_id": "{digits}', EVALUATION)
    models = {Revision(commit, root).evaluation.model_id: commit for commit in reversed(commits)}
    of_digits = {model: commit for model, commit in models.items() if model.startswith(digits)}
    if len(of_digits) > 1:
        raise KibanError(f"{digits} may mean the models {' or '.join(of_digits)}: give more digits")
    return next(iter(of_digits.values()), None)
