"""A contract has time: a column came, went, was renamed or widened in March, and older snapshots stay as they are."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from slice import run_stage, take_new

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.data import contract, parquet
from kiban.data.contract import Column
from kiban.ingest import ledger
from kiban.review.changes import by_rows

LEDGER = paths.ledger("flights")
OLD = "    air_time: {type: integer, unit: minutes, nullable: true, min: 10, max: 1200, description: Time in the air}\n"
PLAIN = "type: integer, unit: minutes, nullable: true, description: Time in the air"
CHANGES = {
    "came": f"{OLD}    gate: {{type: string, nullable: true, since: 2013-03, description: Gate}}\n",
    "went": f"    air_time: {{{PLAIN}, until: 2013-02}}\n",
    "renamed": f"    airborne: {{{PLAIN}, since: 2013-03, was: air_time}}\n",
    "widened": f"    air_time: {{{PLAIN.replace('integer', 'number')}, since: 2013-03, was: {{type: integer}}}}\n",
}


def changed(header: list[str], fields: list[str], change: str) -> list[str]:
    """A line of March in its new layout; the header is one too."""
    place, is_header = header.index("air_time"), fields == header
    if change == "came":
        return [*fields, "gate" if is_header else "B7"]
    if change == "went":
        return [*fields[:place], *fields[place + 1 :]]
    new = "airborne" if change == "renamed" else "air_time"
    value = fields[place] + (".5" if change == "widened" and fields[place].isdigit() else "")
    return [*fields[:place], new if is_header else value, *fields[place + 1 :]]


@pytest.fixture(params=CHANGES)
def change(request: pytest.FixtureRequest, project: Path, slices: dict[str, list[str]]) -> str:
    """The project, whose flights come from a file a month, before March is taken. March has the new layout."""
    name: str = request.param
    header, *lines = (line.split(",") for line in slices["flights"])
    Path("incoming").mkdir()
    for month in ("1", "2", "3"):
        of_month = [header, *(line for line in lines if line[1] == month)]
        rows = [changed(header, line, name) for line in of_month] if month == "3" else of_month
        Path(f"incoming/2013-0{month}.csv").write_text("".join(f"{','.join(row)}\n" for row in rows))
    params = yaml.safe_load(Path("params.yaml").read_text())
    source = {"_target_": "kiban.sources.Files", "options": {"path": "incoming/{batch}.csv"}, "missing": ["NA"]}
    params["dataset"]["tables"]["flights"]["source"] = source
    Path("params.yaml").write_text(yaml.safe_dump(params))
    recorded = ledger.read(LEDGER)
    del recorded["flights"]["2013-03"]
    ledger.write(LEDGER, recorded)
    paths.raw_file("flights", "flights", "2013-03").unlink()
    raw = paths.raw_contract("flights")
    assert OLD in raw.read_text()
    text = raw.read_text().replace(OLD, CHANGES[name])
    raw.write_text(text.replace("{column: air_time,", "{column: airborne,") if name == "renamed" else text)
    return name


def test_old_batches_stay_and_are_read_in_the_present_layout(change: str) -> None:
    before = ledger.read(LEDGER)
    january = paths.prepared_file("flights", "2013-01").read_bytes()
    take_new()
    after = ledger.read(LEDGER)
    assert after["flights"].pop("2013-03").rows > 0
    assert after == before
    for stage in ("validate_raw", "prepare"):
        run_stage(stage)
    assert paths.prepared_file("flights", "2013-01").read_bytes() == january
    table = contract.read_raw(paths.raw_contract("flights"))["flights"]
    first, last = (parquet.read(paths.raw_file("flights", "flights", batch)) for batch in ("2013-01", "2013-03"))
    now = parquet.as_now(first, table, "2013-01", "January")
    assert now.schema.equals(parquet.schema(table))
    column = "airborne" if change == "renamed" else "gate" if change == "came" else "air_time"
    assert now[column].null_count == (len(now) if change == "came" else first["air_time"].null_count)
    assert parquet.as_now(last, table, "2013-03", "March")[column].null_count == (
        len(last) if change == "went" else 0 if change == "came" else first_nulls(last, column)
    )
    # A clone with the source and no store takes each batch as it was, so that its bytes are those of the ledger.
    shutil.rmtree(paths.raw_folder("flights"))
    run_stage("ingest")
    again = parquet.read(paths.raw_file("flights", "flights", "2013-01"))
    assert by_rows(again, first, table.at("2013-01").key).added == 0


def first_nulls(rows: pa.Table, column: str) -> int:
    return rows[column].null_count


def test_what_a_column_was_must_be_whole() -> None:
    with pytest.raises(ValueError, match="was needs since"):
        Column(type="integer", description="n", was="m")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be nullable"):
        Column(type="integer", description="n", since="2013-03")


def test_only_raw_columns_have_a_past(project: Path) -> None:
    path = paths.prepared_contract("flights")
    path.write_text(path.read_text().replace("plane_seats: {", "plane_seats: {until: 2013-02, "))
    with pytest.raises(KibanError, match=r"columns\.plane_seats\.until: only a column of a raw table has it"):
        contract.prepared_of("flights")
