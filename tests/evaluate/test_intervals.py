"""reports/evaluation.json says where each compared metric lies: what the report draws from the predictions too."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from slice import compose_here, run_stage

from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION, PREDICTIONS
from kiban.data import parquet, pieces
from kiban.evaluate import bootstrap
from kiban.evaluate.clusters import clusters, local_times
from kiban.servable.evaluation import Evaluation
from kiban.tasks.metric import Scored
from kiban.tasks.task import BINARY


def read() -> Evaluation:
    return Evaluation.model_validate_json(EVALUATION.read_bytes())


def test_the_intervals_are_those_of_the_predictions_by_split_and_by_batch(project: Path) -> None:
    evaluation, rows = read(), parquet.read(PREDICTIONS)
    assert evaluation.intervals is not None
    times = local_times(rows["scheduled_departure"], "America/New_York")
    months = pc.strftime(times, "%Y-%m")
    for split, by_metric in evaluation.intervals.splits.items():
        of_split = rows.filter(pc.equal(rows["split"], split))
        (batch,) = pc.unique(months.filter(pc.equal(rows["split"], split))).to_pylist()
        assert evaluation.intervals.batches[batch] == by_metric  # of the slice each split is a month
        codes = clusters(of_split, "day", "scheduled_departure", "America/New_York")
        for name, ends in by_metric.items():
            scored = Scored(of_split["target"].to_numpy(), of_split["score"].to_numpy())
            low, value, high = bootstrap.interval(BINARY.metrics[name], scored, codes)
            assert ends == pytest.approx((low, high), abs=1e-3)  # rows of another order are drawn in other clusters
            assert low < value < high
            assert evaluation.splits[split][name] == pytest.approx(value, abs=1e-6)


def test_they_do_not_depend_on_the_pieces(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = EVALUATION.read_bytes()
    monkeypatch.setattr(pieces, "LARGE", 700)
    run_stage("evaluate")
    assert EVALUATION.read_bytes() == before


def test_rows_may_be_clusters_and_an_unknown_one_is_named(project: Path) -> None:
    by_day = read().intervals
    compose_here("gate.cluster=row")
    run_stage("evaluate")
    by_row = read().intervals
    assert by_day is not None
    assert by_row is not None
    assert np.ptp(by_row.splits["test"]["roc_auc"] or 1) < np.ptp(by_day.splits["test"]["roc_auc"] or 0)
    compose_here("gate.cluster=fortnight")
    with pytest.raises(KibanError, match=r"gate\.cluster: 'fortnight' is not one of row, day, week, month, "):
        run_stage("evaluate")
