from pathlib import Path
from typing import Any

import pytest
import yaml
from slice import ROOT

from kiban.core.errors import KibanError
from kiban.data import contract
from kiban.data.contract import Table

RAW = ROOT / "conf/contract/flights/raw.yaml"
PREPARED = ROOT / "conf/contract/flights/prepared.yaml"


def test_the_shipped_contracts_parse() -> None:
    assert set(contract.read_raw(RAW)) == {"flights", "weather", "planes"}
    prepared = contract.read_prepared(PREPARED)
    assert prepared.target() == "late"
    assert not {"late", "flight", "scheduled_departure"} & set(prepared.features())


def test_every_feature_says_how_it_is_computed_and_what_may_be_null() -> None:
    for name, column in contract.read_prepared(PREPARED).features().items():
        assert len(column.description) >= 9, name
        assert column.nullable == name.startswith(("plane_", "weather_", "state_")), name


def edited(tmp_path: Path, edit: dict[str, Any]) -> Path:
    content = yaml.safe_load(PREPARED.read_text())
    content["columns"]["distance"].update(edit)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"unitt": "miles"}, r"columns\.distance\.unitt: unknown key"),
        ({"type": "int"}, r"columns\.distance\.type: Input should be 'string'"),
        ({"type": "string"}, "min and max need type integer or number"),
        ({"levels": ["1"]}, "levels need type string"),
        ({"parts": ["month"]}, "parts need a feature of type date or timestamp"),
        ({"type": "date", "min": None, "max": None, "parts": ["hour"]}, "the part hour needs type timestamp"),
        ({"out_of_range": "ignore"}, r"columns\.distance\.out_of_range"),
    ],
)
def test_a_mistake_in_a_column_is_named(tmp_path: Path, edit: dict[str, Any], message: str) -> None:
    path = edited(tmp_path, edit)
    with pytest.raises(KibanError, match=message) as raised:
        contract.read_prepared(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Distance", "the columns 'distance' and 'Distance' differ by case alone: rename one of them"),
        ("FILE_row_number", "column 'FILE_row_number': DuckDB numbers rows by that name: rename it"),
    ],
)
def test_a_name_that_sql_takes_for_another_is_refused(tmp_path: Path, name: str, message: str) -> None:
    content = yaml.safe_load(PREPARED.read_text())
    content["columns"][name] = content["columns"]["distance"]
    (tmp_path / "prepared.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(KibanError, match=message):
        contract.read_prepared(tmp_path / "prepared.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: [", "not YAML"),
        ("", "Input should be"),
        ("description: x\nkey: [a]\ncolumns: {}", "names the column"),
    ],
)
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    with pytest.raises(KibanError, match=message):
        contract.read_prepared(path)


def test_a_missing_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(KibanError, match=r"absent\.yaml: this contract is missing"):
        contract.read_raw(tmp_path / "absent.yaml")


def test_a_raw_table_without_a_key_gets_one() -> None:
    column = {"type": "integer", "description": "number"}
    table = Table.model_validate({"description": "", "columns": {"n": column}})
    assert table.key == ["row_hash"]
    assert list(table.columns) == ["row_hash", "n"]
    with pytest.raises(ValueError, match="a table without a key must not have a column row_hash"):
        Table.model_validate({"description": "", "columns": {"row_hash": column}})


def test_a_prepared_contract_is_derived_from_the_only_raw_table() -> None:
    columns = {
        "id": {"type": "integer", "description": "number", "condition": "id > 0"},
        "y": {"type": "boolean", "role": "target", "description": "yes"},
    }
    raw = {"rows": Table.model_validate({"description": "A row", "key": ["id"], "columns": columns})}
    table = contract.parse_prepared(contract.derived(raw, "raw.yaml"), "derived")
    assert table.columns["id"].condition is None
    assert table.target() == "y"
    with pytest.raises(KibanError, match="raw.yaml has the tables one, two: write the contract of the prepared rows"):
        contract.derived({"one": raw["rows"], "two": raw["rows"]}, "raw.yaml")


def test_a_key_must_not_be_nullable_and_a_target_must_be_one() -> None:
    column: dict[str, Any] = {"type": "integer", "description": "number"}
    with pytest.raises(ValueError, match="must be of type timestamp"):
        Table.model_validate({"description": "", "key": ["id"], "time": "id", "columns": {"id": column}})
    with pytest.raises(ValueError, match="must not be nullable"):
        Table.model_validate({"description": "", "key": ["id"], "columns": {"id": {**column, "nullable": True}}})
    table = Table.model_validate({"description": "", "key": ["id"], "columns": {"id": column}})
    with pytest.raises(KibanError, match="exactly one column with role target"):
        table.target()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"levels": ["a"]}, r"late\.levels: a target of type string needs two or more"),
        ({"levels": ["a", "b", "a"]}, r"late\.levels: a level stands there twice"),
        ({"levels": ["a", "b"], "unseen": "warn"}, r"late\.unseen: a target must reject unknown levels"),
        ({"levels": ["a", "b"], "positive": "c"}, "positive must be one of the levels"),
        ({"levels": ["a", "b"], "positive": 1}, "positive needs type string or integer, and must be such a value"),
        ({"type": "timestamp"}, r"late\.type: a target must not be a time"),
    ],
)
def test_a_target_that_no_model_can_answer_about_is_refused(
    tmp_path: Path, target: dict[str, Any], message: str
) -> None:
    content = yaml.safe_load(PREPARED.read_text())
    content["columns"]["late"] = {"type": "string", "role": "target", "description": "", **target}
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(KibanError, match=message):
        contract.read_prepared(path)
