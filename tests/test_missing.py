import numpy as np
import pytest
from conftest import ROOT

from kiban import contract, missing
from kiban.errors import KibanError
from kiban.settings.missing import Missing

FLIGHTS = contract.read_prepared(ROOT / "conf/contract/flights.prepared.yaml").features()


def test_without_blanks_the_named_group_only() -> None:
    of_flight = {name: np.array([""]) if of.type == "string" else np.array([1.0]) for name, of in FLIGHTS.items()}
    blank = missing.without(of_flight, FLIGHTS, ["weather_*", "plane_type"])
    assert np.isnan(blank["weather_pressure"]).all()
    assert blank["plane_type"].tolist() == [""]
    assert blank["distance"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("patterns", "message"), [(["dist*"], "'distance', which may not be null"), (["x_*"], "no feature")]
)
def test_a_group_that_cannot_be_missing_is_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        missing.without({}, FLIGHTS, patterns)


def test_rows_are_repeated_without_each_group() -> None:
    rows = 100
    known = {
        name: np.full(rows, "a", object) if of.type == "string" else np.arange(rows) * 1.0
        for name, of in FLIGHTS.items()
    }
    settings = Missing(groups={"weather": ["weather_*"], "state": ["state_*"]}, share=0.1, seed=0)
    repeated, origin = missing.repeat_without(known, FLIGHTS, settings)
    assert len(origin) == len(repeated["distance"]) == 120
    np.testing.assert_array_equal(repeated["distance"], origin)
    assert [
        int(np.isnan(repeated[name]).sum()) for name in ("weather_pressure", "state_city_delay_2h", "distance")
    ] == [10, 10, 0]
    again, _ = missing.repeat_without(known, FLIGHTS, settings)
    np.testing.assert_array_equal(again["distance"], repeated["distance"])
