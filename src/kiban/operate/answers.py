"""Answers for a database: about rows that the ledger lacks, from the dataset's own source, or about past rows."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import contract, ordering, parquet, verdict
from kiban.data.batches import STATIC, base, period
from kiban.data.contract import Table
from kiban.ingest import forgotten, ledger, take
from kiban.ingest.forgotten import Forgotten
from kiban.operate import promote, registry, release
from kiban.operate.answer_table import MODEL, TIME
from kiban.request import logged, new_rows
from kiban.request.predictions import ANSWERS
from kiban.request.schema import Schema
from kiban.review.revision import Revision
from kiban.score.check import check, check_columns
from kiban.servable import columns
from kiban.servable.load import Servable, load
from kiban.serve.released import CURRENT, SERVABLE
from kiban.sources.kinds import Opened, open_source
from kiban.sources.settings import Dataset
from kiban.tasks.metric import Scores


class Answered(NamedTuple):
    """Answers about n rows of a batch: `rows` have the key, the model and the answer, `asked` the features and the key,
    and `scores` are those of the model.

    `rejected` has the reasons for which the contract refuses others, by the number of the row.
    """

    batch: str
    rows: pa.Table
    asked: pa.Table
    scores: Scores
    rejected: Mapping[int, str]


@contextmanager
def model(version: str | None) -> Iterator[Servable]:
    """The model of a version, or the one in production, or that of the working tree if none is in production.

    Raises KibanError if there is no such version, or if its files are in neither cache nor store.
    """
    if version is None:
        present = release.root() / CURRENT / SERVABLE
        yield load(present if present.exists() else paths.SERVABLE)
        return
    commit = promote.version_tag(version, registry.read(Revision("HEAD").dataset)).commit
    with tempfile.TemporaryDirectory() as folder:
        release.write_servable(Revision(commit), Path(folder) / SERVABLE)
        yield load(Path(folder) / SERVABLE)


def new(dataset: Dataset, now: datetime) -> Iterator[tuple[str, pa.Table]]:
    """The features of the rows of each batch that the source has and the ledger lacks, as they are known now.

    What an ingest would not take, because it is too old or to be forgotten, is left out. Raises KibanError if a source
    cannot be read, or if the contract rejects a value.
    """
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    name = new_rows.table_asked_about(dataset)
    recorded, gone = ledger.read(paths.ledger(dataset.name)), forgotten.read(dataset.name)
    batches: dict[str, dict[str, pa.Table]] = {}
    for table in tables:
        source = open_source(dataset.tables[table].source)
        names = take.kept(source.batches(), table, dataset, now)
        batches[table] = {
            batch: _read(dataset, tables[table], source, table, batch, gone.get(table, []))
            for batch in names
            if batch not in recorded.get(table, {}) and batch != STATIC
        }
    for batch, asked in batches[name].items():
        recent = new_rows.recent_rows(dataset, asked, tables)
        for table, parts in batches.items():
            further = [rows for each, rows in parts.items() if each < batch or (each == batch and table != name)]
            recent[table] = pa.concat_tables([recent[table], *further])
        if asked.num_rows:
            yield batch, new_rows.features(dataset, asked, recent)


def _read(dataset: Dataset, table: Table, source: Opened, name: str, batch: str, gone: Sequence[Forgotten]) -> pa.Table:
    where = f"{name} {batch} ({source.describe()})"
    rows = ordering.at_once(source.read(batch, period(batch, dataset.timezone)), table, where)
    return forgotten.without(rows, gone)


def past(dataset: Dataset, first: str, last: str) -> Iterator[tuple[str, pa.Table]]:
    """The features of the rows of accepted batches, from the first to the last, as they were known at their time.

    Raises KibanError if there is no such batch, or if its file changed after validation.
    """
    tables = contract.read_raw(paths.raw_contract(dataset.name))
    name = new_rows.table_asked_about(dataset)
    accepted = verdict.read("raw").accepted.get(name, {})
    batches = sorted(batch for batch in accepted if first <= batch and base(batch) <= last)
    if not batches:
        raise KibanError(f"no batch from {first} to {last} is accepted: `kiban data` lists what there is")
    for batch in batches:
        with verdict.opened(paths.raw_file(dataset.name, name, batch), accepted[batch]) as file:
            asked = parquet.as_now(parquet.read_open(file), tables[name], batch, file.name)
        yield batch, new_rows.features(dataset, asked, new_rows.recent_rows(dataset, asked, list(tables)))


def answered(servable: Servable, batch: str, rows: pa.Table) -> Answered:
    """The answers of a model about rows with its features and their key.

    Raises KibanError if the rows lack a feature that it requires, or have one in another type.
    """
    table = servable.contract
    features = table.features()
    check_columns(rows.schema, features, is_text=False, where=f"the features of {batch}")
    checked = check(rows, Schema(features, 1), is_text=False)
    scores = servable.score(columns.from_arrow(checked.rows, features))
    accepted = rows.filter(checked.accepted)
    key = key_of(servable)
    identity = {name: accepted[name] for name in key} | {MODEL: pa.array([servable.model_id] * accepted.num_rows)}
    answer = pa.table(ANSWERS[servable.task.name].columns(servable, scores))
    if taken := sorted({*key} & {*answer.column_names, MODEL, TIME}):
        raise KibanError(f"the key has a column {taken[0]}, as the answers do: they cannot stand in one table")
    given = pa.table({**identity, **{name: answer[name] for name in answer.column_names}})
    keys = table.keys()
    others = [name for name in keys if name in accepted.column_names]
    asked = pa.table({**{name: checked.rows[name] for name in features}, **{name: accepted[name] for name in others}})
    return Answered(batch, given, asked, scores, {index + 1: reason for index, reason in checked.rejected.items()})


def key_of(servable: Servable) -> list[str]:
    """The key by which answers are kept. Raises KibanError if the table has none of its own."""
    table = servable.contract
    known = {**table.features(), **table.keys()}
    if any(name not in known for name in table.key):
        raise KibanError("the rows have no key of their own, by which an answer could be kept: docs/contracts.md")
    return list(table.key)


def lines(servable: Servable, given: Answered, places: Sequence[int], run: str, now: datetime) -> Iterator[bytes]:
    """The lines of the prediction log about the answers at these places."""
    table = servable.contract
    personal = {name for name, column in {**table.features(), **table.keys()}.items() if column.personal}
    records = given.asked.take(pa.array(places, pa.int64())).to_pylist()
    predictions = ANSWERS[servable.task.name].predictions(servable, given.scores[list(places)])
    yield from logged.answered_in_parts(now, run, servable.model_id, records, predictions, personal)
