"""Every configuration of ours under conf/ composes, is valid, and trains on the slice."""

from pathlib import Path

import pytest
from slice import compose_here, run_stage

from kiban.config.__main__ import Params
from kiban.config.composition import composed
from kiban.core.settings import read
from kiban.servable.load import load

GROUPS = {  # not what a team has added
    "dataset": ["flights", "penguins", "seattle_weather"],
    "decision": ["default"],
    "evaluation": ["default"],
    "experiment": ["all_known", "large_trees", "none", "regularized_logistic", "tuned_hist_gradient_boosting"],
    "gate": ["flights", "skill"],
    "missing": ["flights", "none"],
    "model": ["dummy", "hist_gradient_boosting", "logistic"],
    "plots": ["binary", "flights", "multiclass", "regression"],
    "serving": ["default"],
    "split": ["by_newest", "by_row", "flights"],
    "tracking": ["default"],
    "validation": ["default"],
}
CHOICES = [(group, name) for group, names in GROUPS.items() if group != "experiment" for name in names]


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_of_every_group_is_valid(project: Path, group: str, name: str) -> None:
    if group in ("dataset", "split") or name == "flights":  # which the slice chooses
        Path("params.yaml").write_bytes(composed(Path(), [f"{group}={name}"]))
    else:
        compose_here(f"{group}={name}")
    assert read(Params)
    run_stage("config")


@pytest.mark.parametrize(
    "override", [f"model={name}" for name in GROUPS["model"]] + [f"experiment={name}" for name in GROUPS["experiment"]]
)
def test_every_model_and_experiment_trains_and_is_evaluated(project: Path, override: str) -> None:
    compose_here(override)
    before = load().model_id
    run_stage("train")
    run_stage("evaluate")
    assert load().model_id != before


def test_an_overlay_leaves_no_key_of_the_old_model_behind(project: Path) -> None:
    compose_here("experiment=regularized_logistic")
    arguments = {name: value for name, value in read(Params).model.items() if name != "features"}
    assert arguments == {"_target_": "sklearn.linear_model.LogisticRegression", "C": 0.01, "max_iter": 500}
