"""A hundred files as people send them. Each is read as its author meant it, or refused, or asked about: not misread."""

import csv
import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from nasty import OPEN, Draft, drawn

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data.contract import ROW_HASH, parse_raw
from kiban.data.parquet import ARROW_TYPES
from kiban.profile import run
from kiban.profile.questions import AmbiguousError
from kiban.profile.wishes import Wishes


def content(draft: Draft) -> bytes:
    """The bytes of the file, not packed."""
    labels = [draft.label(name) for name in draft.columns]
    columns = list(draft.columns.values())
    if draft.suffix == ".jsonl":
        records = [[each.values[row] if each.is_plain() else each.text(row) for each in columns] for row in draft.rows]
        pairs = [[f"{json.dumps(n)}: {json.dumps(v)}" for n, v in zip(labels, each, strict=True)] for each in records]
        return "".join(f"{{{', '.join(each)}}}\n" for each in pairs).encode()
    records = [[each.text(row) for each in columns] for row in draft.rows]
    if draft.ragged is not None:
        records[draft.ragged].append("7")
    if draft.total is not None:
        sums = [str(sum(filter(None, each.values))) if each.type == "integer" else "" for each in columns]
        records.append([draft.total, *sums[1:]])
    out = io.StringIO(newline="")
    out.writelines(f"{line}{draft.line_end}" for line in draft.before)
    csv.writer(out, delimiter=draft.delimiter, lineterminator=draft.line_end).writerows([labels, *records])
    return out.getvalue().replace(OPEN, '"').encode(draft.encoding)


def written(draft: Draft, path: Path) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, content(draft))
    else:
        path.write_bytes(gzip.compress(content(draft)) if path.suffix == ".gz" else content(draft))
    return str(path)


AT_ONCE = 30  # of the hundred; the others are long


def check_table(draft: Draft, plan: run.Plan) -> None:
    """Fail unless the rows are those that the file was made from, and the contract that is written says the same."""
    table = pa.concat_tables(plan.rows.values()).drop_columns([ROW_HASH])
    labels = {name: draft.label(name) for name in draft.columns}
    assert set(table.column_names) == set(labels.values())
    types = {name: table.schema.field(label).type for name, label in labels.items()}
    assert types == {name: ARROW_TYPES[column.type] for name, column in draft.columns.items()}
    true = Counter(tuple(column.values[row] for column in draft.columns.values()) for row in draft.rows)
    read = Counter(zip(*(table[label].to_pylist() for label in labels.values()), strict=True))
    assert [*(true - read)][:2] == [*(read - true)][:2] == []
    assert parse_raw(plan.texts[paths.raw_contract(plan.name)], "contract") == {plan.name: plan.table}


SEEDS = [*range(AT_ONCE), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(AT_ONCE, 100))]


@pytest.mark.usefixtures("without_comparison")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_nasty_file_is_read_right_or_refused_clearly(
    seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    draft, kinds = drawn(seed)
    record_property("kinds", ", ".join(kinds))
    path = written(draft, tmp_path / f"file_{seed}{draft.suffix}")
    wishes = Wishes(target=draft.label("y"), timezone=draft.timezone)
    try:
        if draft.asks and not draft.is_broken:
            with pytest.raises(AmbiguousError) as asked:
                run.of_files(path, wishes)
            record_property("asked", str(asked.value))
            for name, answer in draft.asks.items():
                assert repr(draft.label(name)) in str(asked.value)
                wishes = replace(wishes, **answer)
        plan = run.of_files(path, wishes)
    except KibanError as error:
        message = str(error)
    else:
        assert not draft.is_broken, f"read, in spite of {draft.faults}"
        check_table(draft, plan)
        return
    record_property("refused", message)
    assert "\n" not in message
    assert any(fault in message for fault in draft.faults), message
