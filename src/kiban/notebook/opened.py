"""A version of the repository: its data, its model, and what that is worth, without a change of the working tree."""

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from kiban.core import files, lock, paths, store
from kiban.core.errors import KibanError, one_line
from kiban.core.git import git
from kiban.data import parquet
from kiban.data.prepared import TABLE
from kiban.notebook.model import Model
from kiban.notebook.names import commit_named
from kiban.operate.release import write_servable
from kiban.review.revision import Batch, Revision
from kiban.servable.evaluation import Figures
from kiban.servable.load import load

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = "pd.DataFrame | pa.Table"


def opened(name: str | None, repo: str | None) -> "Opened":
    """The version of this name, or the working tree. Raises KibanError if there is none.

    Without `repo`, the address of a repository of git, it is that of the folder, or of one above.
    """
    if repo is None:
        root = next((each for each in (Path.cwd(), *Path.cwd().parents) if (each / paths.CONFIG).is_file()), None)
        if root is None:
            raise KibanError("there is no repository of Kiban here or above: go to one, or give `repo`")
        return Opened(Revision(None if name is None else commit_named(name, root), root), name)
    folder = tempfile.TemporaryDirectory(prefix="kiban_")
    root = Path(folder.name)
    try:
        git(root, "clone", "--quiet", "--", repo, ".")
        git(root, "fetch", "--quiet", "origin", "refs/exps/*:refs/exps/*")
    except subprocess.CalledProcessError as error:
        reason = one_line(error.stderr.replace(repo, "it"))  # which may have a password
        raise KibanError(f"git cannot clone the repository: {reason}") from None
    return Opened(Revision(commit_named(name or "HEAD", root), root), name or "HEAD", folder)


class Opened:
    """A version of the repository. What is not in the working tree comes from DVC's cache, or else from its store.

    Each method raises KibanError if the version has not what is asked for, if it cannot be had, or if its bytes are
    not those that the version names.
    """

    def __init__(
        self, revision: Revision, name: str | None, folder: "tempfile.TemporaryDirectory[str] | None" = None
    ) -> None:
        self.revision = revision
        self.name = name or "the working tree"
        self.commit = revision.commit
        self._folder = folder  # which goes with this object

    def __repr__(self) -> str:
        commit = f", commit {self.commit[:12]}" if self.commit else ""
        return f"<{self.name}{commit}: {self.revision.dataset}>"

    def raw(self, table: str, batches: Iterable[str] | None = None, *, arrow: bool = False) -> Rows:
        """The rows of a raw table, of all of its batches or of some, in the contract's present columns."""
        return self._rows(table, batches, arrow)

    def prepared(self, batches: Iterable[str] | None = None, *, arrow: bool = False) -> Rows:
        """The prepared rows, of all batches that a model may use, or of some."""
        return self._rows(TABLE, batches, arrow)

    def predictions(self, *, arrow: bool = False) -> Rows:
        """The rows that the model was measured on: key, time, split, target and score."""
        self._bring([paths.PREDICTIONS])
        rows = self.revision.predictions
        if rows is None:
            raise KibanError(f"{paths.PREDICTIONS} of {self.name} is not of its model: run `dvc repro` there")
        return rows if arrow else rows.to_pandas()

    def metrics(self) -> dict[str, Figures]:
        """The figures of the model by split: train, validation and test."""
        return self.revision.evaluation.splits

    def model(self) -> Model:
        """The model, which answers as the service does. It is read without pickle, and its id is checked."""
        self._bring([paths.SERVABLE])
        with tempfile.TemporaryDirectory() as folder:
            write_servable(self.revision, Path(folder) / "servable")
            servable = load(Path(folder) / "servable")
        if servable.model_id != (expected := self.revision.evaluation.model_id):
            raise KibanError(
                f"the model of {self.name} is {servable.model_id[:12]}, and {expected[:12]} was measured: run `dvc "
                "repro` there"
            )
        return Model(servable)

    def _rows(self, table: str, batches: Iterable[str] | None, arrow: bool) -> Rows:
        known = self.revision.batches.get(table)
        if not known:
            names = ", ".join(name for name in self.revision.batches if name != TABLE)
            raise KibanError(f"{self.name} has no table {table!r}; it has {names}")
        chosen = sorted(known) if batches is None else [batches] if isinstance(batches, str) else list(batches)
        if absent := [batch for batch in chosen if batch not in known]:
            raise KibanError(f"{self.name} has no batch {absent[0]!r} of {table}; it has {', '.join(sorted(known))}")
        self._bring([known[batch].path for batch in chosen if not self._is_here(known[batch])])
        contract = self.revision.contracts.get(table)
        if contract is None:
            raise KibanError(f"{self.name} has no contract of the table {table}")
        parts = [
            parquet.as_now(self.revision.rows(known[batch]), contract, batch, f"{table} {batch}") for batch in chosen
        ]
        rows = pa.concat_tables(parts)
        return rows if arrow else rows.to_pandas()

    def _is_here(self, batch: Batch) -> bool:
        return files.is_file(self.revision.root / batch.path, batch.sha256)

    def _bring(self, wanted: Iterable[Path]) -> None:
        """Bring files, or folders, that DVC tracks into its cache."""
        outputs = lock.outputs(self.commit, self.revision.root)
        objects: dict[str, list[str]] = {}
        for path in wanted:
            if self.commit is None and (self.revision.root / path).exists():
                continue
            place = next((each for each in (path, *path.parents) if each.as_posix() in outputs), None)
            if place is not None:
                inner = path.relative_to(place).as_posix()
                objects.setdefault(outputs[place.as_posix()], []).extend([] if inner == "." else [inner])
        if objects and (problem := store.fetched(self.revision.root, objects, store.PATIENCE)):
            raise KibanError(f"what {self.name} names is not here: {problem}")
