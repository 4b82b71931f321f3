"""The data of a git revision: which batches it has, from git, and their rows, from DVC's cache or its remote."""

import contextlib
import errno
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from kiban.core import files, paths
from kiban.core.errors import KibanError
from kiban.core.git import git
from kiban.core.paths import PARAMS
from kiban.data import contract, parquet, prepared
from kiban.data.contract import Table
from kiban.ingest import ledger


@dataclass(frozen=True)
class Batch:
    """A batch of one version: number of rows, SHA-256 of its Parquet file, and where that lies in the repository."""

    rows: int
    sha256: str
    path: Path


@dataclass(frozen=True)
class Version:
    """The data of a revision, None being the working tree: contracts by table, batches by table and name."""

    revision: str | None
    contracts: Mapping[str, Table]
    batches: Mapping[str, Mapping[str, Batch]]


def version(revision: str | None) -> Version:
    """The data of a git revision, the raw tables and `prepared`; KibanError if it has none that can be read."""
    if revision is None:
        return _read(Path(), None)
    try:
        kept = (str(PARAMS), "conf/contract", "data", "reports")
        names = git(Path(), "ls-tree", "-r", "--name-only", "--end-of-options", revision, "--", *kept)
        with tempfile.TemporaryDirectory() as folder:
            for name in names.splitlines():
                if name.endswith((".yaml", ".json")):
                    path = Path(folder) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(git(Path(), "show", f"{revision}:{name}"), encoding="utf-8")
            return _read(Path(folder), revision)
    except (OSError, subprocess.CalledProcessError):
        raise KibanError(f"there is no revision {revision!r}: `git log` lists them") from None
    except KibanError as error:
        reason = re.sub(r"\S*/(?=(conf|data|reports|params)[/.])", "", str(error))  # without the temporary folder
        raise KibanError(f"the data of revision {revision!r} cannot be read: {reason}") from None


def _read(root: Path, revision: str | None) -> Version:
    try:
        dataset = yaml.load((root / PARAMS).read_bytes(), yaml.CSafeLoader)["dataset"]["name"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise KibanError(f"{PARAMS} is missing, or names no dataset") from None
    batches = {
        table: {
            name: Batch(entry.rows, entry.sha256, paths.raw_file(dataset, table, name))
            for name, entry in entries.items()
        }
        for table, entries in ledger.read(root / paths.ledger(dataset)).items()
    }
    report = read_report(root)["batches"]
    batches[prepared.TABLE] = {
        name: Batch(of["rows"], of["sha256"], paths.prepared_file(dataset, name))
        for name, of in report.items()
        if "sha256" in of  # reports of the first version have none
    }
    contracts = {
        **contract.read_raw(root / paths.raw_contract(dataset)),
        prepared.TABLE: contract.read_prepared(root / paths.prepared_contract(dataset)),
    }
    return Version(revision, contracts, batches)


def commit(revision: str) -> str:
    """The commit that a git revision names; KibanError if there is none."""
    try:
        return git(Path(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except (OSError, subprocess.CalledProcessError):
        raise KibanError(f"there is no revision {revision!r}: `git log` lists them") from None


def content(path: Path, revision: str | None) -> bytes:
    """A file of a revision, None being the working tree, from there, from git, or from DVC's cache or its remote.

    Raises FileNotFoundError if none of them has it.
    """
    if revision is None and path.exists():
        return path.read_bytes()
    if revision is not None:
        named = f"{revision}:{path.as_posix()}"
        shown = subprocess.run(["git", "show", "--end-of-options", named], capture_output=True)
        if shown.returncode == 0:
            return shown.stdout
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        _get(path, revision, copy)
        if not copy.exists():
            raise FileNotFoundError(errno.ENOENT, "not in the working tree, git, DVC's cache or its remote", str(path))
        return copy.read_bytes()


def _get(path: Path, revision: str | None, target: Path) -> None:
    """Copy a file that DVC tracks to `target`, from its cache or its remote, if it is there."""
    with contextlib.suppress(Exception):  # DVC, its index and its store raise what they like
        _file_system(Path.cwd(), revision).get_file(path.as_posix(), str(target))


def rows(version: Version, batch: Batch) -> pa.Table:
    """The rows of a batch; KibanError if neither the working tree nor DVC's cache nor its remote has them."""
    if files.is_file(batch.path, batch.sha256):
        return parquet.read(batch.path)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / batch.path.name
        _get(batch.path, version.revision, path)
        if not files.is_file(path, batch.sha256):
            where = f" of {version.revision}" if version.revision else ""
            raise KibanError(
                f"{batch.path}{where} is not here: bring it with `dvc fetch`, or `dvc fetch --all-commits`"
            )
        return parquet.read(path)


@cache
def _file_system(root: Path, revision: str | None) -> Any:
    from dvc.api import DVCFileSystem  # takes a second

    return DVCFileSystem(url=str(root), rev=revision)


def read_report(root: Path = Path()) -> dict[str, Any]:
    """reports/data.json: `batches` that were prepared and accepted, and reasons by batch in `quarantined`."""
    try:
        report: dict[str, Any] = json.loads((root / paths.DATA).read_bytes())
        return report
    except (FileNotFoundError, ValueError):
        return {"batches": {}, "quarantined": {}}


def brought_in_by(path: Path) -> dict[str, str]:
    """For each line of a tracked file, the abbreviated commit that brought it in; uncommitted lines are not there."""
    try:
        blamed = git(Path(), "blame", "--line-porcelain", "--", str(path)).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return {}
    commits: dict[str, str] = {}
    commit = ""
    for number, line in enumerate(blamed):
        if line.startswith("\t"):
            if commit.strip("0"):
                commits[line.strip()] = commit[:7]
        elif number == 0 or blamed[number - 1].startswith("\t"):
            commit = line.split()[0]
    return commits
