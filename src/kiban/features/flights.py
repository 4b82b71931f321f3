"""The features of a flight that are known one hour before its scheduled departure.

Times are seconds since 1970 here, because windows over seconds mean the same on every engine.
"""

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
from ibis import _

from kiban.data import exact

ROWS_OF = "flights"  # each prepared row comes from one row of this table; `kiban features` takes new rows of it
LOOKBACK_DAYS = 17  # the longest window of 14 days, the hour before departure, and departures two days late

HOUR = 3600
DAY = 24 * HOUR
LATE_MINUTES = 15  # US DOT, Bureau of Transportation Statistics: an arrival 15 minutes or more after schedule is late
CUT_OFF = HOUR
DELAY_RANGE = (-15, 180)  # minutes; a delay of a day says no more about the next flight than one of three hours
WEATHER_AGE = 2 * HOUR  # an hour of observation ends before the cut-off, at whatever minute the flight departs
MOST_WIND = 200  # mph; above it the instrument is wrong (one row of 2013 has 1048)


def features(tables: Mapping[str, ir.Table]) -> ir.Table:
    """The prepared columns of every flight in `tables` (flights, weather, planes).

    The target is null if the flight has not arrived. No other column uses information from after the cut-off.
    """
    flights = _with_times(tables["flights"])
    joined = (
        flights.left_join(_aircraft(tables["planes"]), "tailnum")
        .left_join(_weather(tables["weather"]), ["origin", "weather_second"])
        .left_join(_state_of_the_day(flights), ["departure", "carrier", "flight"])
    )
    return joined.select(
        scheduled_departure=_.time_hour + _.minute.as_interval("m"),
        flight=_.flight,
        late=_.arr_delay >= LATE_MINUTES,
        carrier=_.carrier,
        origin=_.origin,
        dest=_.dest,
        departure_minute=_.hour * 60 + _.minute,
        scheduled_minutes=(_minute_of_day(_.sched_arr_time) - _minute_of_day(_.sched_dep_time) + 24 * 60) % (24 * 60),
        weekday=ibis.date(_.year, _.month, _.day).day_of_week.full_name().substr(0, 3),
        distance=_.distance,
        plane_age=_.year - _.plane_built,
        plane_seats=_.plane_seats,
        plane_type=_.plane_type,
        **{name: _[name] for name in (*_WEATHER, *_MEAN_DELAYS, *_WAITING)},
    )


def _with_times(flights: ir.Table) -> ir.Table:
    departure = _.time_hour.epoch_seconds() + _.minute * 60
    return flights.mutate(departure=departure, weather_second=_.time_hour.epoch_seconds() - WEATHER_AGE)


def _minute_of_day(hhmm: ir.IntegerValue) -> ir.IntegerValue:
    return (hhmm // 100) * 60 + hhmm % 100


def _aircraft(planes: ir.Table) -> ir.Table:
    return planes.select("tailnum", plane_built=_.year, plane_seats=_.seats, plane_type=_.type)


_WEATHER = {
    "weather_temperature": _.temp,
    "weather_dew_point": _.dewp,
    "weather_humidity": _.humid,
    "weather_wind_direction": _.wind_dir,
    "weather_wind_speed": (_.wind_speed <= MOST_WIND).ifelse(_.wind_speed, ibis.null()),
    "weather_wind_gust": _.wind_gust,
    "weather_precipitation": _.precip,
    "weather_pressure": _.pressure,
    "weather_visibility": _.visib,
}


def _weather(weather: ir.Table) -> ir.Table:
    return weather.select("origin", weather_second=_.time_hour.epoch_seconds(), **_WEATHER)


# The columns that define each group of flights, and the length of the window in seconds.
_MEAN_DELAYS: dict[str, tuple[list[str], int]] = {
    "state_city_delay_2h": ([], 2 * HOUR),
    "state_origin_delay_3h": (["origin"], 3 * HOUR),
    "state_origin_carrier_delay_3h": (["origin", "carrier"], 3 * HOUR),
    "state_carrier_delay_24h": (["carrier"], 24 * HOUR),
    "state_route_delay_7d": (["origin", "dest"], 7 * DAY),
    "state_flight_delay_14d": (["carrier", "flight"], 14 * DAY),
}
_WAITING: dict[str, tuple[list[str], int]] = {
    "state_origin_waiting_12h": (["origin"], 12 * HOUR),
    "state_dest_waiting_6h": (["dest"], 6 * HOUR),
}


def _state_of_the_day(flights: ir.Table) -> ir.Table:
    """Delays and queues of the departures before each flight's cut-off, by (departure, carrier, flight).

    The union `events` has three rows for each flight, ordered by the time `at`: the cut-off, for which the features
    are asked; the scheduled departure, which adds 1 to the queue; and the actual departure, which takes 1 from the
    queue and has the delay. A window over the events gives the features at the cut-off, so that no range join is
    needed.
    """
    keys = ["departure", "carrier", "flight", "origin", "dest"]
    nothing: ir.Value = ibis.null("int64")
    departed = flights.filter(_.dep_delay.notnull())
    events = ibis.union(
        flights.select(*keys, at=_.departure - CUT_OFF, asked=True, delay=nothing, queue=ibis.literal(0)),
        flights.select(*keys, at=_.departure, asked=False, delay=nothing, queue=ibis.literal(1)),
        departed.select(
            *keys,
            at=_.departure + _.dep_delay * 60,
            asked=False,
            delay=_.dep_delay.clip(*DELAY_RANGE),
            queue=ibis.literal(-1),
        ),
    )

    def over(value: ir.NumericValue, by: list[str], seconds: int) -> ir.NumericValue:
        return value.over(ibis.range_window(group_by=by, order_by="at", preceding=seconds, following=0))

    def mean(by: list[str], seconds: int) -> ir.NumericValue:
        return exact.mean(over(_.delay.sum(), by, seconds), over(_.delay.count(), by, seconds))

    means = {name: mean(by, seconds) for name, (by, seconds) in _MEAN_DELAYS.items()}
    waiting = {name: over(_.queue.sum(), by, seconds) for name, (by, seconds) in _WAITING.items()}
    return events.mutate(**means, **waiting).filter(_.asked).select("departure", "carrier", "flight", *means, *waiting)
