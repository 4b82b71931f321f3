"""The versions of a model: what a commit's model is, and which number it gets."""

import subprocess
from pathlib import Path
from typing import Any, Literal

import yaml
from semver import Version

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.data import contract, prepared
from kiban.data.split import batches_of, parse
from kiban.operate import remote
from kiban.operate.registry import Record, Registry
from kiban.request.origin import LINE
from kiban.request.replaces import narrowed
from kiban.review.comparison import target
from kiban.review.revision import Revision
from kiban.servable import manifest

FIRST = Version(0, 1, 0)
MADE_BY = ("prepare", "train")
"""The stages whose parameters and code make the model."""

Change = Literal["major", "minor", "patch"]


def described(revision: Revision) -> Record:
    """What the tag of a version says of the model of a revision. Raises KibanError if a file of it is missing."""
    batches = revision.batches[prepared.TABLE]
    split = parse(revision.params["split"], batches)
    used = batches_of(split, batches)
    return Record(
        kind="version",
        model_id=revision.evaluation.model_id,
        through=max((name for names in used.values() for name in names), default=""),
        trained_on=tuple(sorted({*used["train"], *used["validation"]})),
        metrics=revision.evaluation.test,
    )


def next_version(registry: Registry, revision: Revision) -> Version:
    """The version that the model of a revision gets, after the newest that there is.

    It is a major one if the model refuses what that one answers or has another target, a minor one if parameters,
    features or code changed, and a patch if the data did. Raises KibanError if a file of either model is in neither
    cache nor store.
    """
    if not registry.versions:
        return FIRST
    newest, tag = list(registry.versions.items())[-1]
    change = _change(Revision(tag.commit), revision)
    if change == "major":
        return newest.bump_major()
    return newest.bump_minor() if change == "minor" else newest.bump_patch()


def _change(old: Revision, new: Revision) -> Change:
    before, after = (_features(side) for side in (old, new))
    if target(old) != target(new) or any(narrowed(before, after)):
        return "major"
    return "patch" if before.keys() == after.keys() and _made_by(old) == _made_by(new) else "minor"


def _features(revision: Revision) -> Any:
    path = paths.SERVABLE / manifest.CONTRACT
    try:
        content = revision.content(path)
    except FileNotFoundError:
        raise KibanError(f"{path} of {revision.label} is not here: `dvc fetch --all-commits` brings it") from None
    return contract.parse_prepared(content, f"{path} of {revision.label}").features()


def _made_by(revision: Revision) -> Any:
    """The parameters and the code of the stages that make the model."""
    try:
        stages = yaml.load(revision.content(paths.LOCK), yaml.CSafeLoader)["stages"]
        made = {name: stages[name] for name in MADE_BY}
        code = {
            (name, dep["path"], dep["md5"])
            for name, stage in made.items()
            for dep in stage["deps"]
            if dep["path"].startswith("src/")
        }
        return code, {name: stage.get("params") for name, stage in made.items()}
    except (FileNotFoundError, yaml.YAMLError, KeyError, TypeError):
        raise KibanError(f"{paths.LOCK} of {revision.label} cannot be read: run `dvc repro` there") from None


def rules_of(commit: str) -> str:
    """The commit of main before the model of `commit` was there, whose rules judge it; `commit` itself if none was.

    What others can see is main: origin's, if there is an origin. The commit is found along first parents, which are
    those of the branch that others were merged into. Raises KibanError if the clone has not the whole history.
    """
    line = LINE.format(Revision(commit).evaluation.model_id)
    search = ("log", "--first-parent", "--diff-merges=first-parent", "--format=%H", f"-S{line}")
    try:
        if git(Path(), "rev-parse", "--is-shallow-repository").strip() == "true":
            raise KibanError("the rules stand in earlier commits, which this clone lacks: `git fetch --unshallow`")
        seen = _seen_by_others(commit)
        made = git(Path(), *search, seen, "--", f"./{paths.EVALUATION}").split()
        parents = git(Path(), "rev-list", "--parents", "-1", made[0]).split()[1:] if made else [seen]
        has_rules = parents and git(Path(), "ls-tree", parents[0], "--", f"./{paths.PARAMS}")
    except (OSError, subprocess.CalledProcessError):
        raise KibanError(f"git does not read the history of {commit[:7]}: `git fsck` says what is wrong") from None
    return parents[0] if has_rules else commit


def _seen_by_others(commit: str) -> str:
    """The newest commit in the history of `commit` that origin's main has; `commit` itself without an origin."""
    main = remote.main()
    return git(Path(), "merge-base", commit, f"refs/remotes/{remote.ORIGIN}/{main}").strip() if main else commit
