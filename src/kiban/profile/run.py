"""`kiban init`: from a table to a plan of its configuration, its contract and its snapshot."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import yaml

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.core.text import plain
from kiban.data import pieces
from kiban.data.batches import STATIC
from kiban.data.contract import ROW_HASH, Column, Table
from kiban.data.parquet import conform
from kiban.data.parquet import typed as in_types
from kiban.data.split import SPLITS, ByNewest, ByRow, Resolved, resolved
from kiban.data.written import Written, WrittenFile
from kiban.profile import batches, models, write
from kiban.profile.contract import Uses, contract
from kiban.profile.sniff import sniffed
from kiban.profile.table import Typed, typed
from kiban.profile.target import Asked, asked
from kiban.profile.types import Options
from kiban.profile.wishes import Wishes
from kiban.servable.columns import Columns, from_arrow, target_from_arrow
from kiban.sources import given
from kiban.tasks.metric import Target
from kiban.tasks.task import task_of
from kiban.train import fit

LEAST_ROWS = 40
GIVEN = {"_target_": "kiban.sources.Given"}


@dataclass(frozen=True)
class Plan:
    """What was decided about a table.

    `texts` are the files of conf/, `rows` those to take as batches, `notes` what a person should know by column, and of
    the file under "".
    """

    name: str
    table: Table
    target: Asked
    uses: Uses
    choice: models.Choice
    split: Resolved
    rows: Mapping[str, pa.Table]
    texts: Mapping[Path, bytes]
    origin: str
    notes: Mapping[str, Sequence[str]]


def of_files(path: str, wishes: Wishes) -> Plan:
    """The plan for the file, the folder or the pattern at `path`. Raises KibanError if it is no table, or not fit."""
    files = given.files(path)
    ways = {file.name: sniffed(file) for file in files if file.is_text()}
    written, notes = next(iter(ways.values())) if ways else (WrittenFile(), [])
    for name, way in ways.items():
        if way.written != written:
            raise KibanError(f"{name} is written otherwise than {next(iter(ways))}: give files of one kind")
    has_types = files[0].name.lower().endswith(".parquet")
    return plan(
        given.rows(files, written), written, notes, PurePosixPath(path.rstrip("/")).name, GIVEN, wishes, has_types
    )


def of_query(file: str, url_env: str, wishes: Wishes) -> Plan:
    """The plan for the rows of the SQL query in `file`, of the database whose address `url_env` holds."""
    from kiban.sources.sql import Sql

    if wishes.time:
        raise KibanError("--time and --sql: a query for each batch has parameters :start and :end, see docs/data.md")
    query = Path(file).read_text(encoding="utf-8")
    rows = pieces.joined(Sql(url_env, query).read(STATIC, None), file)
    source = {"_target_": "kiban.sources.Sql", "options": {"url_env": url_env, "query": query}}
    of_query = plan(rows, WrittenFile(), [], PurePosixPath(file).name, source, wishes, has_types=True)
    return replace(of_query, rows={STATIC: next(iter(of_query.rows.values()))})


def plan(
    rows: pa.Table,
    written: WrittenFile,
    notes: Sequence[str],
    origin: str,
    source: Mapping[str, Any],
    wishes: Wishes,
    has_types: bool,
) -> Plan:
    """The plan for the rows of a source. `origin` is what the ledger calls it, `has_types` as of `typed`."""
    name = _name(wishes.name or origin)
    rows = _chosen(rows, wishes)
    if rows.num_rows < LEAST_ROWS:
        raise KibanError(f"{origin} has {rows.num_rows} rows: a model needs {LEAST_ROWS} at least")
    options = Options(wishes.decimal, wishes.dates, wishes.missing, wishes.timezone)
    table = _with_time(typed(rows, options, origin, has_types), rows, wishes, origin)
    target = asked(wishes, rows[wishes.target], table)
    only = Table(description=origin, key=[wishes.target], columns={wishes.target: _never_null(target.column)})
    labels = in_types(rows.select([wishes.target]), only, origin)[wishes.target]
    described, uses = contract(table, labels, target, written, origin, wishes)
    conformed = conform(rows, described, origin)
    if conformed.group_by(described.key).aggregate([]).num_rows < conformed.num_rows:
        raise KibanError(
            f"--key {', '.join(wishes.key)}: two rows of {origin} have the same; name more columns, or none"
        )
    cut = batches.cut(conformed, name, wishes)
    split = batches.split(cut, wishes)
    choice = _choice(cut, described, split)
    is_clustered = bool(wishes.group or wishes.time)
    options_of_groups = {
        "split": name if is_clustered else "by_row",
        "model": f"{name}_{choice.name}",
        "missing": "none",
        "plots": target.task,
        "gate": name if is_clustered else "skill",
    }
    texts = {
        paths.raw_contract(name): write.contract(name, described, uses, {wishes.target: f"target: {target.reason}"}),
        paths.CONF / f"dataset/{name}.yaml": write.dataset(name, options_of_groups, wishes.timezone, source),
        **{
            paths.CONF / f"model/{name}_{each}.yaml": write.model(tried, choice) for each, tried in choice.tried.items()
        },
        paths.SEARCHES / f"{name}.yaml": write.search(
            name, "rmse" if target.task == "regression" else "log_loss", choice.rows, models.space(choice.rows)
        ),
    }
    if is_clustered:
        texts[paths.CONF / f"split/{name}.yaml"] = write.split(split)
        texts[paths.CONF / f"gate/{name}.yaml"] = write.gate(wishes.group or "day")
    told = {"": [*notes, *choice.notes], **{each: read.notes for each, read in table.columns.items() if read.notes}}
    marked = {path: write.marked(text) for path, text in texts.items()}
    return Plan(name, described, target, uses, choice, resolved(split, cut), cut, marked, origin, told)


def _never_null(column: Column) -> Column:
    """The column as that of a key, which `Table` asks for."""
    return column.model_copy(update={"nullable": False})


def _name(text: str) -> str:
    """A name for the dataset, from what a person said or from the name of the file."""
    name = re.sub(r"[^a-z0-9]+", "_", text.split(".")[0].casefold()).strip("_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise KibanError(f"{text!r} gives no name for the dataset: give one by --name, of letters, digits and _")
    if not isinstance(yaml.load(name, yaml.CSafeLoader), str):
        raise KibanError(f"{name!r} is a word of YAML, and no name for the dataset: give one by --name")
    return name


def _chosen(rows: pa.Table, wishes: Wishes) -> pa.Table:
    """The rows without the columns to drop. Raises KibanError if an option names a column that is not there."""
    named = {"--drop": wishes.drop, "--key": wishes.key, "--keep": wishes.keep, "--target": (wishes.target,)}
    named |= {"--time": (wishes.time,) if wishes.time else (), "--group": (wishes.group,) if wishes.group else ()}
    for option, names in named.items():
        for name in names:
            if name not in rows.column_names:
                known = ", ".join(rows.column_names[:10]) + (", …" if rows.num_columns > 10 else "")
                raise KibanError(f"{option} {plain(name)}: there is no such column; there are {plain(known)}")
    rows = rows.drop_columns(list(wishes.drop))
    if ROW_HASH in rows.column_names and not wishes.key:
        raise KibanError(f"a table without a key must not have a column {ROW_HASH}: give --key, or --drop {ROW_HASH}")
    return rows


def _with_time(table: Typed, rows: pa.Table, wishes: Wishes, origin: str) -> Typed:
    """The table, with the column of --time as a timestamp. A date is the beginning of its day in the time zone."""
    if wishes.time is None or table.columns[wishes.time].type == "timestamp":
        return table
    read = table.columns[wishes.time]
    if read.type != "date" or pa.types.is_date(rows[wishes.time].type):
        raise KibanError(
            f"--time {wishes.time}: its values are of type {read.type}, and a batch needs times: save them as "
            "times, or as text in CSV"
        )
    written = (read.written or Written()).model_copy(update={"timezone": wishes.timezone})
    column = Column(type="timestamp", written=written, description=wishes.time)
    only = Table(description=origin, key=[wishes.time], columns={wishes.time: column})
    place = table.rows.column_names.index(wishes.time)
    times = in_types(rows.select([wishes.time]), only, origin)[wishes.time]
    read = read._replace(type="timestamp", written=written)
    return Typed(table.rows.set_column(place, wishes.time, times), {**table.columns, wishes.time: read})


def _choice(cut: Mapping[str, pa.Table], table: Table, split: ByRow | ByNewest) -> models.Choice:
    """The better model of the training rows."""
    column, features = table.columns[table.target()], table.features()
    task, classes, rule = task_of(column), len(column.levels or []), resolved(split, cut)
    parts: dict[str, list[pa.Table]] = {each: [] for each in SPLITS}
    for batch, rows in cut.items():
        known = rows.filter(rows[table.target()].is_valid())
        for each, part in rule.parts(batch, known, table.key).items():
            parts[each].append(part)

    def of(each: str) -> tuple[Columns, Target]:
        rows = pa.concat_tables(parts[each])
        return from_arrow(rows, features), target_from_arrow(rows[table.target()], column)

    training, by_time = of("train"), isinstance(split, ByNewest)
    with fit.threads(training[0]):
        choice = models.better(training[0], features, training[1], task, classes, by_time)
        if not by_time:
            return choice
        model, preprocessing = choice.tried["trees"]
        best = models.rounds(model, preprocessing, features, task, training, of("validation"))
    return choice._replace(tried={**choice.tried, "trees": ({**model, "max_iter": best}, preprocessing)})
