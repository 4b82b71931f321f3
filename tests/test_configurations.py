"""Every configuration under conf/ composes, is valid, and trains on the slice."""

from pathlib import Path

import pytest
from slice import ROOT, compose_here, run_stage

from kiban.config.__main__ import Params
from kiban.config.composition import composed
from kiban.core.settings import read
from kiban.servable.load import load

GROUPS = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in (ROOT / "conf").iterdir()
    if group.is_dir()
}
CHOICES = [
    (group, name)
    for group in sorted(GROUPS)
    if group not in ("contract", "experiment", "tune")
    for name in GROUPS[group]
]


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_of_every_group_is_valid(project: Path, group: str, name: str) -> None:
    if (group, name) == ("split", "by_row"):  # for a table without time
        Path("params.yaml").write_bytes(composed(Path(), ["split=by_row"]))
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
    assert read(Params).model == {"_target_": "sklearn.linear_model.LogisticRegression", "C": 0.01, "max_iter": 500}
