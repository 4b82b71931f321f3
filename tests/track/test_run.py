from kiban.track.run import MOST_VALUE, Metric, metrics, metrics_by_batch, parameters


def test_parameters_are_text_of_a_length_that_mlflow_takes() -> None:
    found = parameters({"a": {"b": True}, "long": "x" * 20_000})
    assert found["a.b"] == "True"
    assert len(found["long"]) == MOST_VALUE


def test_only_numbers_are_metrics() -> None:
    assert metrics({"rows": 3, "passed": True, "name": "x", "none": None, "nan": float("nan")}) == [
        Metric(name="rows", value=3)
    ]


def test_the_figures_of_batches_are_one_series_in_the_order_of_time() -> None:
    found = metrics_by_batch({"2013-09": {"split": "train", "brier": 0.2}, "2013-10": {"brier": 0.1}})
    assert [(each.name, each.step, each.value) for each in found] == [
        ("by_batch.brier", 201309, 0.2),
        ("by_batch.brier", 201310, 0.1),
    ]
