"""`kiban monitor --calibrate`: false alarms and planted faults, on weeks of real flights, one after another."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from slice import prepared_rows

from kiban.cli.monitor import monitor
from kiban.core.errors import KibanError
from kiban.operate import calibration, truth
from kiban.operate.monitor import champion
from kiban.operate.rules import Monitoring

WEEKS = 24


def test_honest_weeks_have_no_alarm_and_faults_are_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    model = champion(Path("release"))
    known = truth.read(model.servable, model.promised, "America/New_York")
    rows = prepared_rows("2013-03").slice(0, 3000).select(known.rows.column_names)
    place = rows.column_names.index("scheduled_departure")
    weeks = []
    for number in range(WEEKS):  # each a sample of its own
        part = rows.slice(100 * number % 1500, 1500)
        times = pc.add(part["scheduled_departure"], pa.scalar(timedelta(weeks=number)))
        weeks.append(part.set_column(place, rows.schema.field(place), times.cast(rows.schema.field(place).type)))
    origins = calibration.origins(model, replace(known, rows=pa.concat_tables(weeks)))
    assert len(origins) > 1
    settings = Monitoring(weeks_per_false_alarm=20)
    rate = calibration.rate(origins, settings)
    assert rate.weeks > 3
    assert rate.alarms < rate.weeks
    found = {each.fault: each for each in calibration.planted(origins, settings)}
    assert found["distance times 1.6"].found == found["distance all null"].found == len(origins)
    assert {"half of the requests gone", "carrier all null"} <= found.keys()


def test_too_few_weeks_are_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    done = CliRunner().invoke(monitor, ["--calibrate"])
    assert isinstance(done.exception, KibanError)
    assert "too few accepted weeks" in str(done.exception)
