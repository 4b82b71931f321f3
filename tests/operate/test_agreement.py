"""Two models beside each other about the last requests of the log."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slice import KNOWN_FLIGHT

from kiban.operate.agreement import MOST, agreement
from kiban.request import logged
from kiban.servable.load import Servable, load


@pytest.fixture
def servable(project: Path) -> Servable:
    return load()


def log(*records: dict[str, Any]) -> list[Path]:
    """A log of these records, one a line."""
    folder = Path("log")
    folder.mkdir(exist_ok=True)
    for number, record in enumerate(records):
        line = logged.answered(datetime(2013, 3, 1, 0, 0, number, tzinfo=UTC), "id", "a model", [record], [{}], [], [])
        with (folder / logged.file_name(datetime(2013, 3, 1, number // 10, tzinfo=UTC))).open("ab") as file:
            file.write(line)
    return [folder]


def test_nothing_was_asked(servable: Servable) -> None:
    assert agreement(servable, servable, [Path("log")], None).decision == "not applicable"


def test_labels_that_change_are_counted(servable: Servable) -> None:
    folders = log(*({**KNOWN_FLIGHT, "departure_minute": minute, "flight": 7} for minute in range(0, 1440, 30)))
    same = agreement(servable, servable, folders, None)
    assert (same.decision, same.figure) == (
        "shown",
        "0 of the last 48 records asked would be refused; 0.0% get another label",
    )
    manifest = servable.manifest.model_copy(update={"threshold": 0.0})
    every = agreement(servable, replace(servable, manifest=manifest), folders, None)
    assert float(every.figure.split("; ")[1].split("%")[0]) > 50


def test_what_the_challenger_would_refuse_is_counted(servable: Servable) -> None:
    folders = log(*[KNOWN_FLIGHT] * 3, {**KNOWN_FLIGHT, "carrier": None})
    with (folders[0] / logged.file_name(datetime(2013, 4, 1, tzinfo=UTC))).open("w") as file:
        file.write("{half a line\n" + json.dumps({"time": "2013-04-01T00:00:00Z"}) + "\n")
    assert agreement(servable, servable, folders, None).figure.startswith("1 of the last 4 records")
    table = servable.contract
    personal = table.columns["carrier"].model_copy(update={"personal": True})
    other = replace(servable, contract=table.model_copy(update={"columns": {**table.columns, "carrier": personal}}))
    refused = agreement(servable, other, folders, None)
    assert (refused.decision, refused.figure) == ("not applicable", "the log does not have carrier, which is personal")


def test_the_newest_records_are_asked_about(servable: Servable) -> None:
    folders = log(*[{**KNOWN_FLIGHT, "carrier": None}] * 2)
    with (folders[0] / logged.file_name(datetime(2013, 4, 1, tzinfo=UTC))).open("wb") as file:
        time = datetime(2013, 4, 1, tzinfo=UTC)
        file.write(logged.answered(time, "id", "a model", [KNOWN_FLIGHT] * MOST, [{}] * MOST, [], []))
    assert agreement(servable, servable, folders, None).figure.startswith(f"0 of the last {MOST:,} records")
