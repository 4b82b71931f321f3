import numpy as np
from slice import ROOT

from kiban.data import contract
from kiban.data.missing import Missing
from kiban.train import missing

FLIGHTS = contract.read_prepared(ROOT / "conf/contract/flights/prepared.yaml").features()


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
