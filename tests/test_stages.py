"""What the stages write on the slice."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slice import compose_here, run_stage

from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.servable.load import load

EVALUATION = Path("reports/evaluation.json")


def test_flights_that_did_not_arrive_are_left_out_and_counted(project: Path, slices: dict[str, list[str]]) -> None:
    report = json.loads(Path("reports/data.json").read_text())
    assert report["rows"] + report["left_out_without_target"] == len(slices["flights"]) - 1
    never = sum(line.split(",")[8] == "NA" for line in slices["flights"][1:])
    assert report["left_out_without_target"] == never > 0


def test_a_batch_sees_the_end_of_the_one_before(project: Path) -> None:
    """The first flights of February know the evening of January; those of March know nothing, the slice ends."""
    for batch, day, known in (("2013-02", "2013-02-02", True), ("2013-03", "2013-03-02", False)):
        flights = parquet.read(Path(f"data/prepared/flights/{batch}.parquet")).to_pandas()
        early = flights[(flights.scheduled_departure < day) & (flights.departure_minute < 360)]
        assert len(early) >= 5
        assert early.state_carrier_delay_24h.notna().any() == known


def test_a_date_that_there_is_not_is_said(project: Path) -> None:
    raw = Path("data/raw/flights/flights/2013-02.parquet")
    rows = parquet.read(raw)
    parquet.write(rows.set_column(rows.column_names.index("day"), "day", pa.array([31] * len(rows))), raw)
    verdict = Path("reports/validation/raw/verdict.json")
    content = json.loads(verdict.read_text())
    content["accepted"]["flights"]["2013-02"] = files.sha256(raw)
    verdict.write_text(json.dumps(content))
    with pytest.raises(KibanError, match=r"prepared 2013-02: the features cannot be computed .*2013-2-31"):
        run_stage("prepare")


def test_metrics_are_of_the_servable_and_stand_beside_the_prior(project: Path) -> None:
    report = json.loads(EVALUATION.read_text())
    assert report["model_id"] == load().model_id
    assert report["test"]["roc_auc"] > 0.6 > report["prior"]["test"]["roc_auc"] == 0.5
    assert set(report["without"]) == {"state_of_the_day", "weather_and_state_of_the_day"}
    for split, batch in (("train", "2013-01"), ("validation", "2013-02"), ("test", "2013-03")):
        assert report["by_batch"][batch] == {"split": split, **report[split]}
    assert report["gate"]["passed"] == (report["test"]["roc_auc"] >= 0.7)


def test_what_is_compared_between_versions_is_few_of_the_metrics(project: Path) -> None:
    report, compared = json.loads(EVALUATION.read_text()), json.loads(Path("reports/metrics.json").read_text())
    assert compared == {
        split: {name: report[split][name] for name in ("roc_auc", "brier")} for split in ("validation", "test")
    }


def test_predictions_give_the_metrics_again(project: Path) -> None:
    predictions = parquet.read(Path("reports/predictions.parquet")).to_pandas()
    assert list(predictions) == ["scheduled_departure", "carrier", "flight", "target", "split", "score"]
    named = pq.read_schema("reports/predictions.parquet").metadata[b"model_id"].decode()
    assert named == load().model_id
    test = predictions[predictions.split == "test"]
    brier = np.mean((test.score - test.target) ** 2)
    assert json.loads(EVALUATION.read_text())["test"]["brier"] == pytest.approx(brier, abs=1e-6)


def test_evaluating_again_gives_the_same_bytes(project: Path) -> None:
    files = [path for path in Path("reports").rglob("*") if path.is_file() and "validation" not in path.parts]
    before = {path: path.read_bytes() for path in files}
    run_stage("evaluate")
    assert {path: path.read_bytes() for path in files} == before


def test_a_servable_of_other_data_is_not_evaluated(project: Path) -> None:
    compose_here(
        "split.train.last=2013-02",
        "split.validation={first: 2013-03, last: 2013-03}",
        "split.test={first: 2013-04, last: 2013-04}",
    )
    with pytest.raises(KibanError, match=r"split\.test: it contains no prepared batch"):
        run_stage("evaluate")
    verdict = Path("reports/validation/prepared/verdict.json")
    content = json.loads(verdict.read_text())
    del content["accepted"]["prepared"]["2013-01"]
    verdict.write_text(json.dumps(content))
    with pytest.raises(KibanError, match="trained on another version of batch 2013-01"):
        run_stage("evaluate")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split.train={first: 2012-01, last: 2012-12}"], r"split: train or validation contains no prepared batch"),
        (["model._target_=sklearn.linear_model.Logistic"], r"model\._target_: there is no class"),
        (["model.learning_rate=-1"], r"model: .*learning_rate.* must be"),
        (["+model.depth=3"], r"model\.depth: HistGradientBoostingClassifier has no such argument"),
        (["+missing.groups.schedule=[distance]"], r"'distance', which may not be null"),
    ],
)
def test_settings_that_cannot_be_leave_the_old_model(project: Path, overrides: list[str], message: str) -> None:
    compose_here(*overrides)
    before = {path: path.read_bytes() for path in Path("models").rglob("*") if path.is_file()}
    with pytest.raises(KibanError, match=message) as raised:
        run_stage("train")
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in Path("models").rglob("*") if path.is_file()} == before


def test_prepared_data_that_breaks_its_contract_stops(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contract = Path("conf/contract/flights/prepared.yaml")
    contract.write_text(
        contract.read_text().replace("max: 1439, description: Scheduled dep", "max: 600, description: Scheduled dep")
    )
    with pytest.raises(
        KibanError, match="prepared 2013-01, prepared 2013-02, prepared 2013-03 did not pass validation"
    ):
        run_stage("validate_prepared")
    assert "departure_minute" in capsys.readouterr().err
