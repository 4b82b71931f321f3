"""The features of real flights: nothing is known too early, and every window is exact against brute force."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from slice import ROOT

from kiban.data import contract, parquet
from kiban.features.flights import features

KEY = ["scheduled_departure", "carrier", "flight"]
PREPARED = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml")
SAMPLE = 18


@pytest.fixture
def raw(project: Path) -> dict[str, pd.DataFrame]:
    """Days of January, as the stage reads them."""
    files = {"flights": "flights/2013-01", "weather": "weather/2013-01", "planes": "planes/static"}
    return {name: parquet.read(Path(f"data/raw/flights/{file}.parquet")).to_pandas() for name, file in files.items()}


def compute(raw: dict[str, pd.DataFrame]) -> pd.DataFrame:
    contracts = contract.read_raw(ROOT / "conf/contract/flights/raw.yaml")
    # Through Arrow, so that an integer column with nulls stays one.
    tables = {
        name: ibis.memtable(pa.Table.from_pandas(frame, parquet.schema(contracts[name]), preserve_index=False))
        for name, frame in raw.items()
    }
    return ibis.duckdb.connect().to_pandas(features(tables)).set_index(KEY).sort_index()


@pytest.fixture
def sample(raw: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Flights of the afternoon; there is data 7 days before the 13th, and 14 before the 20th."""
    flights = with_times(raw["flights"])
    late = flights[flights.day.isin([6, 13, 20]) & (flights.hour >= 10)]
    return late.loc[random.Random(0).sample(list(late.index), SAMPLE)]


def with_times(flights: pd.DataFrame) -> pd.DataFrame:
    departure = flights.time_hour + pd.to_timedelta(flights.minute, "m")
    return flights.assign(
        departure=departure,
        cut_off=departure - pd.Timedelta(hours=1),
        left=departure + pd.to_timedelta(flights.dep_delay, "m"),
    )


def row_of(table: pd.DataFrame, flight: Any) -> pd.Series:
    return table.loc[(flight.departure, flight.carrier, flight.flight)]


def hide_the_future(raw: dict[str, pd.DataFrame], cut_off: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """The same raw data with everything that is observed after the cut-off changed."""
    flights, weather = with_times(raw["flights"]), raw["weather"].copy()
    open_ = ~(flights.left <= cut_off)
    # It leaves five hours after the cut-off now, or not at all.
    later = (cut_off - flights.departure).dt.total_seconds() // 60 + 300
    flights.loc[open_, "dep_delay"] = later[open_].where(flights.flight % 2 == 0)
    for name in ("dep_time", "arr_time", "air_time"):
        flights.loc[open_, name] = None
    flights["arr_delay"] = None
    observed = weather.time_hour + pd.Timedelta(hours=1) <= cut_off
    measured = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    weather.loc[~observed, measured] = weather.loc[~observed, measured] * 2 + 1
    weather.loc[~observed, "wind_dir"] = 90
    return {**raw, "flights": flights[raw["flights"].columns], "weather": weather}


def test_nothing_observed_after_the_cut_off_changes_a_feature(
    raw: dict[str, pd.DataFrame], sample: pd.DataFrame
) -> None:
    before = compute(raw).drop(columns="late")
    for flight in sample.itertuples():
        after = compute(hide_the_future(raw, flight.cut_off)).drop(columns="late")
        pd.testing.assert_series_equal(row_of(before, flight), row_of(after, flight))


def test_the_same_change_before_the_cut_off_is_noticed(raw: dict[str, pd.DataFrame], sample: pd.DataFrame) -> None:
    """The test above can fail: what is changed there matters, if it is known."""
    before = compute(raw)
    flight = next(sample.itertuples())
    after = compute(hide_the_future(raw, flight.cut_off - pd.Timedelta(hours=4)))
    changed = row_of(before, flight).drop("late").compare(row_of(after, flight).drop("late")).index
    assert {"state_origin_delay_3h", "state_origin_waiting_12h", "weather_temperature"} <= set(changed)


Mean = tuple[str, Callable[[pd.DataFrame, Any], pd.Series], int]
MEANS: list[Mean] = [
    ("state_city_delay_2h", lambda of, one: of.origin.notna(), 2),
    ("state_origin_delay_3h", lambda of, one: of.origin == one.origin, 3),
    ("state_origin_carrier_delay_3h", lambda of, one: (of.origin == one.origin) & (of.carrier == one.carrier), 3),
    ("state_carrier_delay_24h", lambda of, one: of.carrier == one.carrier, 24),
    ("state_route_delay_7d", lambda of, one: (of.origin == one.origin) & (of.dest == one.dest), 7 * 24),
    ("state_flight_delay_14d", lambda of, one: (of.carrier == one.carrier) & (of.flight == one.flight), 14 * 24),
]


@pytest.mark.parametrize(("name", "same", "hours"), MEANS, ids=lambda value: value if isinstance(value, str) else "")
def test_means_are_exact(raw: dict[str, pd.DataFrame], sample: pd.DataFrame, name: str, same: Any, hours: int) -> None:
    table, flights = compute(raw), with_times(raw["flights"])
    for one in sample.itertuples():
        window = flights.left.between(one.cut_off - pd.Timedelta(hours=hours), one.cut_off)  # both ends belong to it
        delays = flights[window & same(flights, one)].dep_delay.clip(-15, 180)
        assert row_of(table, one)[name] == pytest.approx(delays.mean(), abs=0.0051, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "column", "hours"), [("state_origin_waiting_12h", "origin", 12), ("state_dest_waiting_6h", "dest", 6)]
)
def test_queues_are_exact(
    raw: dict[str, pd.DataFrame], sample: pd.DataFrame, name: str, column: str, hours: int
) -> None:
    table, flights = compute(raw), with_times(raw["flights"])
    for one in sample.itertuples():
        same, since = flights[column] == getattr(one, column), one.cut_off - pd.Timedelta(hours=hours)
        due = (same & flights.departure.between(since, one.cut_off)).sum()
        gone = (same & flights.left.between(since, one.cut_off)).sum()
        assert row_of(table, one)[name] == due - gone


def test_schedule_weather_and_aircraft(raw: dict[str, pd.DataFrame], sample: pd.DataFrame) -> None:
    table, weather, planes = compute(raw), raw["weather"], raw["planes"].set_index("tailnum")
    for one in sample.itertuples():
        row = row_of(table, one)
        local = one.departure.tz_convert("America/New_York")
        assert row.departure_minute == local.hour * 60 + local.minute
        assert row.weekday == local.strftime("%a")
        hour = one.time_hour - pd.Timedelta(hours=2)
        (observed,) = weather[(weather.origin == one.origin) & (weather.time_hour == hour)].itertuples()
        assert row.weather_temperature == observed.temp
        known = one.tailnum in planes.index
        assert pd.isna(row.plane_seats) or (known and row.plane_seats == planes.seats[one.tailnum])
        assert row.late == (one.arr_delay >= 15) or pd.isna(one.arr_delay)


def test_every_flight_has_one_row_and_the_contract_its_columns(raw: dict[str, pd.DataFrame]) -> None:
    table = compute(raw)
    assert len(table) == len(raw["flights"])
    assert table.index.is_unique
    assert set(table.reset_index().columns) == set(PREPARED.columns)
    never_arrived = raw["flights"].arr_delay.isna().sum()
    assert table.late.isna().sum() == never_arrived > 0
