"""The commit that a name means: of git, of DVC, of the registry, or of a model."""

import re
from pathlib import Path

from kiban.core.errors import KibanError
from kiban.core.git import commit_of
from kiban.operate import registry
from kiban.operate.registry import PROD
from kiban.review.lineage import commits_of
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
    commits = {model: commit for model, commit in commits_of(digits, root).items() if commit}
    if len(commits) > 1:
        raise KibanError(f"{digits} may mean the models {' or '.join(commits)}: give more digits")
    return next(iter(commits.values()), None)
