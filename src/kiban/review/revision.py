"""A version of the repository, read from the working tree, from git, or from DVC's cache or its remote."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from kiban.core import paths, tombstones, versions
from kiban.core.errors import KibanError
from kiban.core.git import commit_of, prefix
from kiban.core.settings import Nested, load, yaml_of
from kiban.data import contract, parquet, prepared
from kiban.data.contract import Table
from kiban.data.prepared import Account
from kiban.data.verdict import LEVELS, Level, Verdict
from kiban.ingest.ledger import parse_ledger
from kiban.servable.evaluation import Evaluation


@dataclass(frozen=True)
class Batch:
    """A batch of one version: its number of rows, and the SHA-256 and the path of its Parquet file."""

    rows: int
    sha256: str
    path: Path


class Revision:
    """The files of a revision of git, or of the working tree if `name` is None.

    Each property is read when it is first used, and then cached. A property raises KibanError if a required file is
    missing or cannot be read.
    """

    def __init__(self, name: str | None, root: Path = Path()) -> None:
        """`root` is the folder of the project. Raises KibanError if there is no such revision."""
        self.name = name
        self.root = root
        self.commit = None if name is None else commit_of(name, root)

    @property
    def label(self) -> str:
        """The name of the revision in messages."""
        return self.name or "the working tree"

    @cached_property
    def params(self) -> Nested:
        return load(self._whole(paths.PARAMS))

    @cached_property
    def release(self) -> str | None:
        """The release of the platform that a team's repository has, or None in the platform's own."""
        try:
            answers = yaml_of(self.content(paths.ANSWERS), self._named(paths.ANSWERS), "restore it with `git checkout`")
        except FileNotFoundError:
            return None
        return str(answers.get("_commit")) if isinstance(answers, dict) else None

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions of the packages that shape bytes; none in a commit from before versions.yaml."""
        try:
            return versions.read(self.content(paths.VERSIONS), self._named(paths.VERSIONS))
        except FileNotFoundError:
            return {}

    @cached_property
    def dataset(self) -> str:
        """The name of the dataset."""
        try:
            name: str = self.params["dataset"]["name"]
        except (KeyError, TypeError):
            raise KibanError(f"{paths.PARAMS} of {self.label} names no dataset") from None
        return name

    @cached_property
    def evaluation(self) -> Evaluation:
        """The evaluation of its model."""
        try:
            return Evaluation.model_validate_json(self._whole(paths.EVALUATION))
        except ValidationError:
            raise KibanError(f"{paths.EVALUATION} of {self.label} cannot be read: run `dvc repro` there") from None

    @cached_property
    def verdicts(self) -> Mapping[Level, Verdict | None]:
        """The verdict on each level of the data, or None if it cannot be read."""
        return {level: self._verdict(level) for level in LEVELS}

    def _verdict(self, level: Level) -> Verdict | None:
        try:
            return Verdict.model_validate_json(self.content(paths.verdict(level)))
        except (FileNotFoundError, ValidationError):
            return None

    @cached_property
    def predictions(self) -> pa.Table | None:
        """The predictions of its model, or None if they cannot be read or are those of another model."""
        try:
            rows = parquet.read_bytes(self.content(paths.PREDICTIONS), str(paths.PREDICTIONS))
        except (FileNotFoundError, KibanError):
            return None
        model_id = (rows.schema.metadata or {}).get(b"model_id", b"").decode()
        return rows.replace_schema_metadata(None) if model_id == self.evaluation.model_id else None

    @cached_property
    def contracts(self) -> Mapping[str, Table]:
        """The contracts of the raw tables and of the prepared table, by name of the table."""
        path = paths.raw_contract(self.dataset)
        raw = contract.parse_raw(self._contract(path), self._named(path))
        path = paths.prepared_contract(self.dataset)
        try:
            ready = self._contract(path)
        except KibanError:
            ready = contract.derived(raw, self._named(path))
        return {**raw, prepared.TABLE: contract.parse_prepared(ready, self._named(path))}

    def _contract(self, path: Path) -> bytes:
        """The content of a contract. In earlier commits they have no folder of their own."""
        before = path.parent.with_name(f"{path.parent.name}.{path.name}")
        try:
            return self.content(path)
        except FileNotFoundError:
            return self._whole(before) if self.commit else self._whole(path)

    @cached_property
    def account(self) -> Account:
        """The content of reports/data.json, or an empty account if the file is missing."""
        try:
            return prepared.parse_account(self.content(paths.DATA))
        except FileNotFoundError:
            return prepared.parse_account(b"")

    @cached_property
    def batches(self) -> Mapping[str, Mapping[str, Batch]]:
        """The batches of each raw table and of the prepared table, by table and name."""
        path = paths.ledger(self.dataset)
        try:
            ledger = parse_ledger(self.content(path), self._named(path))
        except FileNotFoundError:
            ledger = {}
        raw = {
            table: {
                name: Batch(entry.rows, entry.sha256, paths.raw_file(self.dataset, table, name))
                for name, entry in entries.items()
            }
            for table, entries in ledger.items()
        }
        ready = {
            name: Batch(batch.rows, batch.sha256, paths.prepared_file(self.dataset, name))
            for name, batch in self.account.batches.items()
            if batch.sha256
        }
        return {**raw, prepared.TABLE: ready}

    def rows(self, batch: Batch) -> pa.Table:
        """The rows of a batch; KibanError if neither the working tree nor DVC's cache nor its remote has them."""
        if (rows := parquet.read_version(self.root / batch.path, batch.sha256)) is not None:
            return rows
        content = self._fetched(batch.path)
        if content is None or hashlib.sha256(content).hexdigest() != batch.sha256:
            where = f" of {self.name}" if self.name else ""
            if erased := self._erased(batch.path):
                raise KibanError(f"{batch.path}{where} was erased on {erased}: docs/data.md, What must be forgotten")
            advice = "bring it with `dvc fetch`, or `dvc fetch --all-commits`"
            raise KibanError(f"{batch.path}{where} is not here: {advice}")
        return parquet.read_bytes(content, str(batch.path))

    def content(self, path: Path) -> bytes:
        """The content of a file, from the working tree or git, or from DVC's cache or its remote.

        Raises FileNotFoundError if none of them has the file.
        """
        if self.commit is None and (self.root / path).is_file():
            return (self.root / path).read_bytes()
        if self.commit is not None:
            # "./" makes the path relative to the working directory, which may be a subfolder of the repository.
            command = ["git", "show", f"{self.commit}:./{path.as_posix()}"]
            process = subprocess.run(command, cwd=self.root, capture_output=True)
            if process.returncode == 0:
                return process.stdout
        content = self._fetched(path)
        if content is None:
            raise FileNotFoundError(path)
        return content

    def _whole(self, path: Path) -> bytes:
        """The content of a required file. Raises KibanError if it is missing."""
        try:
            return self.content(path)
        except FileNotFoundError:
            raise KibanError(f"{self.label} has no {path}: run `dvc repro` there") from None

    def _named(self, path: Path) -> str:
        """The name of the file in error messages."""
        return f"{path} of {self.name}" if self.name else str(path)

    def _fetched(self, path: Path) -> bytes | None:
        """A file that DVC tracks, from its cache or its remote, or None if it cannot be read.

        It is read into memory: a revision is somebody else's, and its names must not become names of files here.
        """
        try:
            content: bytes = self._tracked.cat_file(f"/{self._folder}{path.as_posix()}")
        except Exception:  # DVC, its index and its stores have no common type of error
            return None
        return content

    def _erased(self, path: Path) -> date | None:
        """When a file that DVC tracks was erased, or None."""
        erased = tombstones.dates(tombstones.read())
        try:
            return erased.get(self._tracked.info(f"/{self._folder}{path.as_posix()}")["md5"]) if erased else None
        except Exception:  # as in _fetched
            return None

    @cached_property
    def _tracked(self) -> Any:
        from dvc.api import DVCFileSystem  # the import takes a second

        return DVCFileSystem(url=str(self.root.absolute()), rev=self.commit, subrepos=bool(self._folder))

    @cached_property
    def _folder(self) -> str:
        """Of a revision of git, DVC counts paths from git's root: the path from there to this folder, ending in /."""
        return "" if self.commit is None else prefix(self.root)
