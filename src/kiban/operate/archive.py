"""What stays of the prediction log when its rotation deletes it: a row a prediction, with key, time, model and answer,
and what each week was like. No feature is kept.

    2013-11.parquet    logged_at, model_id, share, line, record, key (a struct, if there is a key), answer (too)
    weeks.json         by week and model: numbers, a summary of the columns, and the expectation as it was made

A folder of the release folder has the newest, and monitoring/log, which DVC versions, what cycles have committed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.contract import Table
from kiban.operate import asked
from kiban.operate.quality import Interval
from kiban.servable.reference import ANSWER, Block, answers_of

FOLDER = Path("monitoring/log")
NEWEST = "log"
"""The folder in the release folder."""

MONTHS = "????-??.parquet"
WEEKS = "weeks.json"
NAMES = {
    asked.LOGGED_AT: "logged_at",
    asked.MODEL: "model_id",
    asked.SHARE: "share",
    asked.LINE: "line",
    asked.RECORD: "record",
}
"""The columns of a file, but for the key and the answer, by their names in the log."""

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # an odd number, so that records of a line are far apart


class Week(BaseModel):
    """A local week that is over, from Monday `first` on, as it was with one model.

    `answered` and `refused` are numbers of requests. `expected` is the metric as it was expected then.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    first: date
    model_id: str
    answered: float
    refused: float
    block: Block
    expected: Interval | None = None

    def with_what_was(self, before: "Week | None") -> "Week":
        """This week, with what an earlier look saw of it and the log does not have any more."""
        if before is None:
            return self
        return self.model_copy(
            update={
                "answered": max(self.answered, before.answered),
                "refused": max(self.refused, before.refused),
                "block": max(self.block, before.block, key=lambda block: block.rows),
                "expected": before.expected or self.expected,
            }
        )


class Archive(NamedTuple):
    """Predictions as `asked.Asked` has them, whose features are null but for those of the key; and the weeks."""

    rows: pa.Table
    weeks: Mapping[tuple[date, str], Week]


def read(folders: Sequence[Path], table: Table, since: datetime | None = None) -> Archive:
    """What the folders have of the months from `since` on. Raises KibanError if a file cannot be read."""
    rows = [asked.schema(table).empty_table()]
    weeks: dict[tuple[date, str], Week] = {}
    for folder in folders:
        weeks |= {(week.first, week.model_id): week for week in _weeks(folder)}
        for path in sorted(folder.glob(MONTHS)):
            if since is None or path.stem >= f"{since:%Y-%m}":
                rows.append(_as_asked(parquet.read(path), table))
    return Archive(without(pa.concat_tables(rows), asked.schema(table).empty_table()), weeks)


def without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows, each once, but for those that are among the others."""
    ids = _ids(rows)
    is_new = ~np.isin(ids, _ids(others))
    is_first = np.zeros(len(ids), np.bool_)
    is_first[np.unique(ids, return_index=True)[1]] = True
    return rows.filter(pa.array(is_new & is_first))


def _ids(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for each prediction, from those of its line and its record."""
    lines, records = rows[asked.LINE].to_numpy().view(np.uint64), rows[asked.RECORD].to_numpy().astype(np.uint64)
    return lines + records * SPREAD


def keep(folder: Path, rows: pa.Table, weeks: Sequence[Week], table: Table) -> None:
    """Add predictions and weeks to a folder. Those that it has stay as they are."""
    months = pc.strftime(rows[asked.LOGGED_AT], "%Y-%m")
    folder.mkdir(parents=True, exist_ok=True)
    for month in sorted(pc.unique(months).to_pylist()):
        path = folder / f"{month}.parquet"
        new = rows.filter(pc.equal(months, month))
        before = parquet.read(path) if path.exists() else None
        added = without(new, _as_asked(before, table) if before else new.slice(0, 0))
        if added.num_rows:
            every = _together(before, _as_kept(added, table), table)
            names = [NAMES[name] for name in (asked.LOGGED_AT, asked.LINE, asked.RECORD)]
            parquet.write(every.sort_by([(name, "ascending") for name in names]), path)
    known = {(week.first, week.model_id): week for week in _weeks(folder)}
    every_week = {**{(week.first, week.model_id): week for week in weeks}, **known}
    if every_week.keys() != known.keys():
        ordered = [every_week[name] for name in sorted(every_week)]
        files.write(folder / WEEKS, TypeAdapter(list[Week]).dump_json(ordered, exclude_none=True) + b"\n")


def _together(before: pa.Table | None, added: pa.Table, table: Table) -> pa.Table:
    """The rows of a file, and others. If the contract has another type now, those of the file are as it has them."""
    if before is None:
        return added
    try:
        return pa.concat_tables([before, added], promote_options="permissive")
    except pa.ArrowException:
        return pa.concat_tables([_as_kept(_as_asked(before, table), table), added], promote_options="permissive")


def clean(path: Path, held: Callable[[pa.Table], pa.Array], lines: Collection[int]) -> None:
    """Remove rows from a file of the archive: those that are `held`, and all of some lines of the log."""
    rows = parquet.read(path)
    is_of_line = pc.is_in(rows[NAMES[asked.LINE]], pa.array(sorted(lines), pa.int64()))
    is_gone = pc.or_(held(rows), is_of_line.combine_chunks())
    if pc.any(is_gone).as_py():
        parquet.write(rows.filter(pc.invert(is_gone)), path)


def is_behind(newest: Path) -> bool:
    """Whether a week is over, as `newest` has it, that FOLDER does not have: not if it only has another model."""
    known = {week.first for week in _weeks(FOLDER)}
    return any(week.first not in known for week in _weeks(newest))


def publish(newest: Path, table: Table) -> None:
    """Add to FOLDER what `newest` has, and remove from `newest` what FOLDER had before: it is in a commit."""
    for path in sorted(newest.glob(MONTHS)):
        there = FOLDER / path.name
        before = _as_asked(parquet.read(there), table) if there.exists() else asked.schema(table).empty_table()
        if not without(_as_asked(parquet.read(path), table), before).num_rows:
            path.unlink()
    keep(FOLDER, read([newest], table).rows, _weeks(newest), table)


def _weeks(folder: Path) -> list[Week]:
    try:
        return TypeAdapter(list[Week]).validate_json((folder / WEEKS).read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError:
        raise KibanError(f"{folder / WEEKS} cannot be read: restore it with `dvc checkout`, or remove it") from None


def _key(table: Table) -> list[str]:
    """The columns by which a prediction meets its truth, and its time."""
    time = [table.time] if table.time and table.time not in table.key else []
    known = {**table.features(), **table.keys()}
    return [name for name in [*table.key, *time] if name in known]


def _as_kept(rows: pa.Table, table: Table) -> pa.Table:
    columns = {name: rows[each].combine_chunks() for each, name in NAMES.items()}
    if key := _key(table):
        columns["key"] = _struct({name: rows[name] for name in key})
    columns["answer"] = _struct({_field(name): rows[name] for name in answers_of(table)})
    return pa.table(columns)


def _field(answer: str) -> str:
    """The field of a column with an answer: the level, or `value`."""
    return answer.removeprefix(ANSWER).strip() or "value"


def _struct(columns: Mapping[str, pa.ChunkedArray]) -> pa.StructArray:
    return pa.StructArray.from_arrays([each.combine_chunks() for each in columns.values()], names=[*columns])


def _as_asked(rows: pa.Table, table: Table) -> pa.Table:
    """Rows of a file in the schema of the log; null in what it lacks, or has in another type."""
    names = {name: each for each, name in NAMES.items()}
    columns = {names[name]: rows[name] for name in names}
    columns |= _fields(rows, "key", {name: name for name in _key(table)})
    columns |= _fields(rows, "answer", {_field(name): name for name in answers_of(table)})
    return pa.table(
        [_of_type(columns.get(field.name), field.type, rows.num_rows) for field in asked.schema(table)],
        schema=asked.schema(table),
    )


def _fields(rows: pa.Table, struct: str, names: Mapping[str, str]) -> dict[str, pa.ChunkedArray]:
    """Fields of a struct by other names, those that it has."""
    if struct not in rows.column_names:
        return {}
    there = {field.name for field in rows.schema.field(struct).type}
    return {name: pc.struct_field(rows[struct], field) for field, name in names.items() if field in there}


def _of_type(values: pa.ChunkedArray | None, kind: pa.DataType, rows: int) -> pa.ChunkedArray | pa.Array:
    try:
        return pa.nulls(rows, kind) if values is None else values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the contract had another type then
        return pa.nulls(rows, kind)
